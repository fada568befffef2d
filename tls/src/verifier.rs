//! Whether a peer is who it should be: a server, or the client of one of ours.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};

use super::certificate::Certificate;

/// Trusts peers whose certificate is one of those that are named, or is signed by one of them. Whoever shows a
/// certificate must have its key, in any case.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    /// A client may come without a certificate.
    may_be_missing: bool,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Trust {
    Anybody,
    /// The second for those that are signed by one of the first; None if nobody can sign.
    Servers(Vec<CertificateDer<'static>>, Option<Arc<WebPkiServerVerifier>>),
    Clients(Vec<CertificateDer<'static>>, Option<Arc<dyn ClientCertVerifier>>),
}

/// What a certificate that was named itself is shown for.
#[derive(Clone, Copy)]
enum Purpose<'n> {
    Server(&'n ServerName<'n>),
    Client,
}

/// What rustls has no words for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(&'static str);

fn told(text: &'static str) -> Error {
    Error::Other(OtherError(Arc::new(Told(text))))
}

impl Verifier {
    /// Of servers. Those that can't be read are left out: of a system's hundred, one may be odd.
    pub(super) fn of_servers(named: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Verifier {
        let roots = Arc::new(roots(&named));
        let signed = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().ok();
        Verifier { trust: Trust::Servers(named, signed), may_be_missing: false, provider }
    }

    /// Of clients.
    pub(super) fn of_clients(
        named: Vec<CertificateDer<'static>>,
        may_be_missing: bool,
        provider: Arc<CryptoProvider>,
    ) -> Verifier {
        let roots = Arc::new(roots(&named));
        let signed = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().ok();
        Verifier { trust: Trust::Clients(named, signed), may_be_missing, provider }
    }

    /// Of whomever.
    pub(super) fn of_anybody(may_be_missing: bool, provider: Arc<CryptoProvider>) -> Verifier {
        Verifier { trust: Trust::Anybody, may_be_missing, provider }
    }

    /// Whether the signature over `message` is by the key of a certificate that rustls can't read, being of version 1.
    fn is_signed(
        &self,
        message: &[u8],
        certificate: &Certificate<'_>,
        signed: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = self.provider.signature_verification_algorithms.mapping;
        let known = schemes.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let is_old = matches!(
            signed.scheme,
            SignatureScheme::RSA_PKCS1_SHA256 | SignatureScheme::RSA_PKCS1_SHA384 | SignatureScheme::RSA_PKCS1_SHA512
        );
        let Some((_, algorithms)) = known.filter(|_| !(is_tls13 && is_old)) else {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        };
        // In TLS 1.3 a scheme is one algorithm, the first.
        let most = if is_tls13 { 1 } else { algorithms.len() };
        let fitting =
            algorithms.iter().take(most).find(|one| one.public_key_alg_id().as_ref() == certificate.algorithm);
        let is_right =
            fitting.is_some_and(|one| one.verify_signature(certificate.key, message, signed.signature()).is_ok());
        if is_right { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
    }

    fn check(
        &self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match Certificate::read(der) {
            Some(certificate) if certificate.version < 3 => self.is_signed(message, &certificate, signed, is_tls13),
            _ if is_tls13 => rustls::crypto::verify_tls13_signature(message, der, signed, algorithms),
            _ => rustls::crypto::verify_tls12_signature(message, der, signed, algorithms),
        }
    }
}

fn roots(named: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(named.iter().cloned());
    roots
}

/// Looks at a certificate that was named itself: at its time, its purpose and a server's name.
fn fits(der: &CertificateDer<'_>, purpose: Purpose<'_>, now: UnixTime) -> Result<(), Error> {
    let certificate = Certificate::read(der).ok_or(CertificateError::BadEncoding)?;
    let (not_before, not_after) = certificate.valid;
    let moment = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    if now.as_secs() > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after: moment(not_after) }.into());
    }
    if now.as_secs() < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before: moment(not_before) }.into());
    }
    let Purpose::Server(name) = purpose else {
        return if certificate.is_for_clients { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) };
    };
    if !certificate.is_for_servers {
        return Err(CertificateError::InvalidPurpose.into());
    }
    if certificate.has_names {
        return verify_server_name(&ParsedCertificate::try_from(der)?, name);
    }
    // Made before subjectAltName was asked for, or of version 1. It was named itself, so nobody else can show it.
    let is_same = certificate.common_name.is_some_and(|common| common.eq_ignore_ascii_case(&name.to_str()));
    if is_same {
        return Ok(());
    }
    let presented = certificate.common_name.map(|common| format!("the common name {common:?}")).into_iter().collect();
    Err(CertificateError::NotValidForNameContext { expected: name.to_owned(), presented }.into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (named, signed) = match &self.trust {
            Trust::Anybody => return Ok(ServerCertVerified::assertion()),
            Trust::Servers(named, signed) => (named, signed),
            Trust::Clients(..) => return Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        if named.contains(end_entity) {
            return fits(end_entity, Purpose::Server(server_name), now).map(|()| ServerCertVerified::assertion());
        }
        let Some(signed) = signed else { return Err(CertificateError::UnknownIssuer.into()) };
        let verified = signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let is_readable = |error: Error| match (&error, Certificate::read(end_entity)) {
            (Error::InvalidCertificate(_), Some(certificate)) if certificate.version < 3 => told(
                "the server's certificate is of X.509 version 1 and was not named itself; name it, or make one of version 3",
            ),
            (Error::InvalidCertificate(CertificateError::Other(_)), Some(_)) => told(
                "the server shows the certificate of an authority, or one that is malformed, which was not named itself; name it",
            ),
            _ => error,
        };
        verified.map_err(is_readable)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        !self.may_be_missing
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.trust {
            Trust::Clients(_, Some(signed)) => signed.root_hint_subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (named, signed) = match &self.trust {
            Trust::Anybody => return Ok(ClientCertVerified::assertion()),
            Trust::Clients(named, signed) => (named, signed),
            Trust::Servers(..) => return Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        if named.contains(end_entity) {
            return fits(end_entity, Purpose::Client, now).map(|()| ClientCertVerified::assertion());
        }
        let Some(signed) = signed else { return Err(CertificateError::UnknownIssuer.into()) };
        signed.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
