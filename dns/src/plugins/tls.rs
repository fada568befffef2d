//! `tls`: the certificate that a block is served with by TLS, HTTPS and QUIC, and what clients must show.

use crate::corefile::SetupError;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;

use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Plugin};

#[cfg(test)]
mod tests;

/// What a client must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientAuth {
    /// Nothing is asked for.
    None,
    /// It is asked for a certificate; any will do, and so does none.
    Request,
    /// It must have a certificate; any will do.
    Require,
    /// A certificate that it shows must be an authority's.
    VerifyIfGiven,
    /// It must show a certificate of an authority.
    RequireAndVerify,
}

/// `tls CERT KEY [CA] { client_auth nocert|request|require|verify_if_given|require_and_verify; keylog FILE }`
///
/// # Errors
/// A file can't be read or doesn't hold what it should, or an option is not there.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = crate::plugin::only_one(directives)?;
    if directive.args.is_empty() {
        let message = "names no certificate; have a tool such as cert-manager or certbot obtain it (ACME is not spoken \
                       here), and write tls CERT KEY";
        return Err(directive.error(message));
    }
    let args = directive.args_between(2, 3)?;
    let mut client_auth = ClientAuth::None;
    let mut keylog = None;
    for option in directive.body() {
        match option.name.as_str() {
            "client_auth" => client_auth = read_client_auth(option)?,
            "keylog" => keylog = Some((option, building.path(option.one_arg()?))),
            _ => return Err(option.unknown_option(&["client_auth", "keylog"])),
        }
    }
    let paths: Vec<_> = args.iter().map(|arg| building.path(arg)).collect();
    let (Some(certificate), Some(key)) = (paths.first(), paths.get(1)) else {
        return Err(directive.error("takes a certificate and its key"));
    };
    let authority = paths.get(2).map(AsRef::as_ref);
    let mut config = config(certificate, key, authority, client_auth).map_err(|text| directive.error(text))?;
    if let Some((option, path)) = keylog {
        config.key_log = Arc::new(KeyLog::open(&path).map_err(|text| option.error(text))?);
        tracing::warn!("plugin/tls: the keys of all connections are written to {}", path.display());
    }
    building.block.tls = Some(Arc::new(config));
    Ok(None)
}

fn read_client_auth(option: &Directive) -> Result<ClientAuth, CorefileError> {
    Ok(match option.one_arg()? {
        "nocert" => ClientAuth::None,
        "request" => ClientAuth::Request,
        "require" => ClientAuth::Require,
        "verify_if_given" => ClientAuth::VerifyIfGiven,
        "require_and_verify" => ClientAuth::RequireAndVerify,
        other => {
            let known = "nocert, request, require, verify_if_given, require_and_verify";
            return Err(option.error(format!("{other:?} is none of {known}")));
        }
    })
}

/// TLS 1.2 and 1.3 with this certificate. Each listener adds what it speaks (ALPN).
fn config(
    certificate: &Path,
    key: &Path,
    authority: Option<&Path>,
    client_auth: ClientAuth,
) -> Result<ServerConfig, SetupError> {
    let builder = ServerConfig::builder_with_provider(bowline_tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS can't be set up: {error}"))?;
    let builder = match verifier(authority, client_auth)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let own = bowline_tls::own(certificate, key)?;
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own))))
}

fn verifier(
    authority: Option<&Path>,
    client_auth: ClientAuth,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, SetupError> {
    // Read in any case: a file that is wrong is told.
    let named = authority.map(|path| {
        let named = bowline_tls::certificates(path)?;
        let told = |error| SetupError::from(format!("{}: {error}", path.display()));
        bowline_tls::clients(named.clone(), false).map_err(told).map(|_| named)
    });
    let named = named.transpose()?;
    let checked = |may_be_missing: bool| {
        let named = match named.clone() {
            Some(named) => named,
            None => bowline_tls::of_the_system().map_err(|error| format!("{error}: tls CERT KEY CA"))?,
        };
        Ok::<_, SetupError>(bowline_tls::clients(named, may_be_missing)?)
    };
    Ok(match client_auth {
        ClientAuth::None => None,
        ClientAuth::Request => Some(bowline_tls::any_client(true)),
        ClientAuth::Require => Some(bowline_tls::any_client(false)),
        ClientAuth::VerifyIfGiven => Some(checked(true)?),
        ClientAuth::RequireAndVerify => Some(checked(false)?),
    })
}

/// For a listener of another plugin: certificate, key and perhaps an authority, whose certificate clients must show
/// (`skips`: may show).
///
/// # Errors
/// A file can't be read or doesn't hold what it should.
pub(super) fn of_listener(paths: &[std::path::PathBuf], skips: bool) -> Result<ServerConfig, SetupError> {
    let (certificate, key, authority) = match paths {
        [certificate, key] => (certificate, key, None),
        [certificate, key, authority] => (certificate, key, Some(authority.as_path())),
        _ => return Err("takes a certificate, its key and perhaps an authority".into()),
    };
    let client_auth = match (authority, skips) {
        (None, _) => ClientAuth::None,
        (Some(_), true) => ClientAuth::VerifyIfGiven,
        (Some(_), false) => ClientAuth::RequireAndVerify,
    };
    config(certificate, key, authority, client_auth)
}

/// For a client: it trusts whom this host trusts (`skips`: everybody).
///
/// # Errors
/// This host trusts nobody.
pub(super) fn of_client(skips: bool) -> Result<rustls::ClientConfig, SetupError> {
    let verifier = if skips { bowline_tls::anybody() } else { bowline_tls::named(bowline_tls::of_the_system()?)? };
    Ok(bowline_tls::client(verifier, None)?)
}

/// Writes keys for programs that decrypt what they have recorded (`SSLKEYLOGFILE`'s form).
#[derive(Debug)]
struct KeyLog(Mutex<std::fs::File>);

impl KeyLog {
    fn open(path: &Path) -> Result<KeyLog, SetupError> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file = file.map_err(|error| format!("{} can't be written: {error}", path.display()))?;
        Ok(KeyLog(Mutex::new(file)))
    }
}

impl rustls::KeyLog for KeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "plugin/tls: a key could not be written");
        }
    }
}
