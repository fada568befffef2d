//! TLS: whom we trust, and what we show. Used by all that connects (etcd, API servers, DNS upstreams, dnstap), and by
//! what is served for whom it lets in.
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
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

mod certificate;
#[cfg(test)]
mod tests;
mod verifier;

use certificate::Certificate;
use verifier::Verifier;

/// What is wrong with certificates or keys, with the file where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl From<String> for TlsError {
    fn from(reason: String) -> TlsError {
        TlsError(reason)
    }
}

impl From<TlsError> for String {
    fn from(error: TlsError) -> String {
        error.0
    }
}

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
    pub fn load(&self) -> Result<ClientConfig, TlsError> {
        let own = self.own.as_ref().map(|(certificate, key)| own(certificate, key)).transpose()?;
        client(self.verifier()?, own.map(Arc::new))
    }

    /// Whom servers are measured by.
    ///
    /// # Errors
    /// The file of authorities can't be used, and why.
    pub fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        match &self.authority {
            Some(path) => {
                named(certificates(path)?).map_err(|reason| TlsError(format!("{}: {reason}", path.display())))
            }
            // A host without any is found out when a server is asked.
            None => Ok(Arc::new(Verifier::of_servers(rustls_native_certs::load_native_certs().certs, provider()))),
        }
    }

    /// Why our own certificate can't be shown by a library that reads it first, as etcd's does.
    pub fn unshowable(&self) -> Option<String> {
        let (certificate, _) = self.own.as_ref()?;
        let chain = certificates(certificate).ok()?;
        let first = Certificate::read(chain.first()?)?;
        (first.version < 3).then(|| {
            format!(
                "{} is of X.509 version {}, which can't be shown to etcd; make one of version 3: \
                 openssl x509 -req -extfile FILE, with extendedKeyUsage=clientAuth in FILE",
                certificate.display(),
                first.version
            )
        })
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

/// What TLS is spoken by as a client: servers are measured by `verifier`, and `own` is shown where one asks for it.
///
/// # Errors
/// TLS can't be set up.
pub fn client(verifier: Arc<dyn ServerCertVerifier>, own: Option<Arc<CertifiedKey>>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match own {
        None => builder.with_no_client_auth(),
        // As it is: rustls would read it first, and refuse what it can't read, such as version 1.
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
    })
}

/// Of servers: trusts these authorities, and these certificates themselves.
///
/// # Errors
/// None of them can be used.
pub fn named(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    usable(&certificates)?;
    Ok(Arc::new(Verifier::of_servers(certificates, provider())))
}

/// Of servers: trusts everybody. That a server has the key of what it shows is checked all the same.
pub fn anybody() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::of_anybody(false, provider()))
}

/// Of clients, for a server of ours: trusts these authorities, and these certificates themselves.
///
/// # Errors
/// None of them can be used.
pub fn clients(
    certificates: Vec<CertificateDer<'static>>,
    may_be_missing: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    usable(&certificates)?;
    Ok(Arc::new(Verifier::of_clients(certificates, may_be_missing, provider())))
}

/// Of clients, for a server of ours: trusts everybody.
pub fn any_client(may_be_missing: bool) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Verifier::of_anybody(may_be_missing, provider()))
}

fn usable(certificates: &[CertificateDer<'static>]) -> Result<(), String> {
    match RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned()) {
        (0, _) => Err("holds no certificate that can be read; make a new one".to_owned()),
        _ => Ok(()),
    }
}

/// Those that this host trusts.
///
/// # Errors
/// It trusts nobody.
pub fn of_the_system() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs().certs;
    match usable(&found) {
        Ok(()) => Ok(found),
        Err(_) => Err(TlsError("this host trusts no authorities; name one, or install ca-certificates".to_owned())),
    }
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

/// What encrypts and signs.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))
}

/// The certificates of a PEM file; at least one.
///
/// # Errors
/// The file can't be read, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    in_pem(&read(path)?).map_err(|reason| TlsError(format!("{} {reason}", path.display())))
}

/// The certificates of a PEM text; at least one. As in Go, what else stands there is passed over.
///
/// # Errors
/// It has none.
pub fn in_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Vec<_> = CertificateDer::pem_slice_iter(pem).flatten().collect();
    if !read.is_empty() {
        return Ok(read);
    }
    // DER begins with a sequence of more than 255 bytes.
    let hint = match pem {
        [] => "; it is empty",
        [0x30, 0x82, ..] => "; it may be in DER form: openssl x509 -inform DER makes PEM of it",
        text if contains(text, b"PRIVATE KEY-----") => "; it has a private key",
        text if contains(text, b"BEGIN CERTIFICATE-----") => "; the one in it is torn",
        _ => " (-----BEGIN CERTIFICATE-----)",
    };
    Err(TlsError(format!("has no certificate in PEM form{hint}")))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// The private key of a PEM text, in any of its forms, whatever its heading says.
///
/// # Errors
/// It has none that can be used.
pub fn key_in_pem(pem: &[u8]) -> Result<Arc<dyn SigningKey>, TlsError> {
    if contains(pem, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(pem, b"Proc-Type: 4,ENCRYPTED") {
        let hint = "and nobody can be asked for the passphrase: openssl pkey -in FILE -out OTHER writes it without";
        return Err(TlsError(format!("has no private key in PEM form; it is encrypted, {hint}")));
    }
    let found = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let hint = if contains(pem, b"CERTIFICATE-----") {
            "; it has a certificate: are the two swapped?"
        } else {
            " (-----BEGIN PRIVATE KEY-----)"
        };
        format!("has no private key in PEM form{hint}")
    })?;
    let der = found.secret_der();
    let provider = provider();
    let load = |key: PrivateKeyDer<'static>| provider.key_provider.load_private_key(key).ok();
    load(PrivateKeyDer::Pkcs8(der.to_vec().into()))
        .or_else(|| load(PrivateKeyDer::Pkcs1(der.to_vec().into())))
        .or_else(|| load(PrivateKeyDer::Sec1(der.to_vec().into())))
        .ok_or_else(|| {
            "has a key of a kind that can't be used here; RSA of 2048 to 8192 bits, ECDSA P-256 and P-384, and Ed25519 \
             can be"
                .to_owned()
                .into()
        })
}

/// Why a certificate and a key are no pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpaired {
    /// The first certificate can't be read.
    Unreadable,
    /// It has another key.
    Another,
}

/// A certificate, with those that lead to its authority, and its key. It may be of version 1, which rustls' own
/// comparison can't read.
///
/// # Errors
/// They don't belong together.
pub fn pair(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<CertifiedKey, Unpaired> {
    let first = chain.first().and_then(|first| Certificate::read(first)).ok_or(Unpaired::Unreadable)?;
    match key.public_key() {
        Some(ours) if first.public != ours.as_ref() => Err(Unpaired::Another),
        _ => Ok(CertifiedKey::new(chain, key)),
    }
}

/// Our own certificate with its key.
///
/// # Errors
/// Which file can't be used, and why.
pub fn own(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let signing = key_in_pem(&read(key)?).map_err(|reason| format!("{} {reason}", key.display()))?;
    pair(chain, signing).map_err(|why| {
        TlsError(match why {
            Unpaired::Unreadable => {
                format!("{}: its first certificate can't be read; make a new one", certificate.display())
            }
            Unpaired::Another => {
                format!("{} is not the key of the first certificate in {}", key.display(), certificate.display())
            }
        })
    })
}
