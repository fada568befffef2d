//! What Kubernetes' own API server makes of a Service, and what the store makes of it.
