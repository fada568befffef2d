//! Applies what sources tell and gives out snapshots. Does the API server's and the EndpointSlice
//! controller's part where there is none (a folder, etcd): addresses for Services, endpoints from Pods.
