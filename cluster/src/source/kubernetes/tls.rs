//! TLS to an API server: whom we trust, and who we are.
//!
//! Certificates of clients are shown as they are. The TLS library would read them first, and refuse those of X.509's
//! version 1, which an API server takes (microk8s makes such ones).

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

#[cfg(test)]
mod tests;

/// Whom to trust.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// These authorities, and these certificates themselves.
    These(Vec<CertificateDer<'static>>),
    /// Those of the system.
    System,
    /// Everybody.
    All,
}

/// A client's certificate with its key.
pub(super) type Identity = Arc<CertifiedKey>;

/// The authorities of a PEM text. As in Go, what else stands there is passed over.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all = CertificateDer::pem_slice_iter(pem).flatten();
    let good: Vec<_> = all.filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok()).collect();
    if good.is_empty() {
        Err("has no certificate that can be read; give one as PEM (-----BEGIN CERTIFICATE-----)")
    } else {
        Ok(good)
    }
}

/// The certificates of a client.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).flatten().collect();
    if all.is_empty() {
        Err("has no certificate that can be read; give one as PEM (-----BEGIN CERTIFICATE-----)")
    } else {
        Ok(all)
    }
}

/// The key of a client, in any of its forms, whatever its heading says.
pub(super) fn key(pem: &[u8]) -> Result<Arc<dyn SigningKey>, &'static str> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("is encrypted; decrypt it: openssl pkey -in FILE -out OTHER");
    }
    let found = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "has no private key that can be read; give one as PEM (-----BEGIN PRIVATE KEY-----)")?;
    let der = found.secret_der().to_vec();
    let provider = provider();
    let load = |key| provider.key_provider.load_private_key(key).ok();
    load(PrivateKeyDer::Pkcs8(der.clone().into()))
        .or_else(|| load(PrivateKeyDer::Pkcs1(der.clone().into())))
        .or_else(|| load(PrivateKeyDer::Sec1(der.into())))
        .ok_or("is of a kind that can't be used; make one of RSA with 2048 to 4096 bits, of the curve P-256 or P-384, or Ed25519")
}

/// A certificate and its key.
pub(super) fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<Identity, &'static str> {
    let public = key.public_key();
    let is_own = |certificate: &CertificateDer<'_>| {
        // The key stands in the certificate, bytes for bytes, whatever version that is of.
        public.as_ref().is_none_or(|public| memchr::memmem::find(certificate, public).is_some())
    };
    match chain.first() {
        Some(first) if is_own(first) => Ok(Arc::new(CertifiedKey::new(chain, key))),
        _ => Err("is not the key of client-certificate; give the two that belong together"),
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// What TLS is to be spoken by.
pub(super) fn config(trust: &Trust, identity: Option<Identity>) -> Result<ClientConfig, String> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::All => Arc::new(Nobody(provider)),
        Trust::These(all) => crate::tls::named(all.clone())?,
        Trust::System => {
            let all = rustls_native_certs::load_native_certs().certs;
            if all.is_empty() {
                return Err(
                    "this system trusts no authorities; name the server's as certificate-authority, or install \
                            ca-certificates"
                        .to_owned(),
                );
            }
            crate::tls::named(all)?
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(identity) => {
            let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(identity));
            builder.with_client_cert_resolver(resolver)
        }
        None => builder.with_no_client_auth(),
    })
}

/// Asks nobody who they are (`insecure-skip-tls-verify`).
#[derive(Debug)]
struct Nobody(Arc<CryptoProvider>);

impl ServerCertVerifier for Nobody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
