//! TLS as a client: whom we trust, and what we show. Used by all that connects: etcd, API servers, DNS upstreams.
//!
//! What an operator names is trusted. A file of authorities may hold the certificate of the server itself, one that it
//! has signed itself (as `openssl req -x509` makes it) or that another has signed: it is taken as OpenSSL and Go take
//! it, where it fits the name and the time. See [decision 14](../../docs/decisions/0014-what-is-named-is-trusted.md).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

mod certificate;
#[cfg(test)]
mod tests;
mod verifier;

use certificate::Certificate;
use verifier::Verifier;

/// The files of a client, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Who signs the certificates of servers, or those certificates themselves; None: whom this host trusts.
    pub authority: Option<PathBuf>,
    /// Our own certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// Reads them. What they hold is checked here, so that no connection fails for it later.
    ///
    /// # Errors
    /// Which file can't be used, and why.
    pub fn load(&self) -> Result<ClientConfig, String> {
        let provider = provider();
        let verifier = self.verifier()?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("no TLS: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let own = own(certificate, key, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
        })
    }

    /// Whom servers are measured by.
    ///
    /// # Errors
    /// The file of authorities can't be used, and why.
    pub fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        match &self.authority {
            Some(path) => named(certificates(path)?).map_err(|reason| format!("{}: {reason}", path.display())),
            // A host without any is found out when a server is asked.
            None => Ok(Arc::new(Verifier::new(rustls_native_certs::load_native_certs().certs, provider()))),
        }
    }

    /// What can be read and will not do: certificates whose time is over, or has not come.
    pub fn doubts(&self) -> Vec<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let authorities = self.authority.iter().map(|path| (path, "authority"));
        let own = self.own.iter().map(|(certificate, _)| (certificate, "own certificate"));
        let mut doubts = Vec::new();
        for (path, what) in authorities.chain(own) {
            let all = certificates(path).unwrap_or_default();
            let read: Vec<_> = all.iter().filter_map(|der| Certificate::read(der)).collect();
            for certificate in &read {
                if let Some(trouble) = certificate.untimely(now) {
                    doubts.push(format!("{}: the {what} {}{trouble}", path.display(), certificate.shown()));
                }
                if what == "authority" && !certificate.has_known_key(&provider()) {
                    let shown = certificate.shown();
                    doubts.push(format!(
                        "{}: the {what} {shown}has a key of a kind that can't be checked here, so nothing that it has \
                         signed is trusted; RSA, ECDSA P-256 and P-384, and Ed25519 can be",
                        path.display()
                    ));
                }
            }
        }
        doubts
    }
}

/// A verifier that trusts these authorities, and these certificates themselves.
///
/// # Errors
/// None of them can be used.
pub fn named(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if good == 0 {
        return Err("holds no certificate that can be read; make a new one".to_owned());
    }
    Ok(Arc::new(Verifier::new(certificates, provider())))
}

/// An error of a connection, in words where rustls has a bare name only.
pub fn explain(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let text = match cause {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "invalid peer certificate: UnknownIssuer: nobody who is trusted has signed it; name its authority, or itself"
        }
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::InvalidPurpose)) => {
            "invalid peer certificate: InvalidPurpose: it is not for servers"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))
}

/// The certificates of a PEM file; at least one.
///
/// # Errors
/// The file can't be read, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let bytes = read(path)?;
    let read = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| format!("{shown} is no PEM file: {error}"))?;
    if !read.is_empty() {
        return Ok(read);
    }
    // DER begins with a sequence of more than 255 bytes.
    let hint = match bytes.as_slice() {
        [] => "; it is empty",
        [0x30, 0x82, ..] => "; it may be in DER form: openssl x509 -inform DER makes PEM of it",
        text if contains(text, b"PRIVATE KEY-----") => "; it has a private key",
        _ => "",
    };
    Err(format!("{shown} has no certificate in PEM form{hint}"))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// Our own certificate with its key.
fn own(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = certificates(certificate)?;
    let bytes = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let hint = if contains(&bytes, b"ENCRYPTED") {
            "; it is encrypted, and nobody can be asked for the passphrase: openssl pkey writes it without"
        } else if contains(&bytes, b"CERTIFICATE-----") {
            "; it has a certificate: are the two files swapped?"
        } else {
            ""
        };
        format!("{} has no private key in PEM form{hint}", key.display())
    })?;
    let signing = provider.key_provider.load_private_key(private).map_err(|_| {
        format!(
            "{} has a key of a kind that can't be used here; RSA of 2048 to 8192 bits, ECDSA P-256 and P-384, and \
             Ed25519 can be",
            key.display()
        )
    })?;
    // A certificate of version 1 is shown as it is: rustls' own comparison can't read it.
    let theirs = chain.first().and_then(|first| Certificate::read(first)).map(|first| first.public.to_vec());
    match (theirs, signing.public_key()) {
        (None, _) => Err(format!("{}: its first certificate can't be read; make a new one", certificate.display())),
        (Some(theirs), Some(ours)) if theirs != ours.as_ref() => {
            Err(format!("{} is not the key of the first certificate in {}", key.display(), certificate.display()))
        }
        _ => Ok(CertifiedKey::new(chain, signing)),
    }
}
