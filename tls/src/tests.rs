//! Certificates of all kinds that people make with openssl, shown in real handshakes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;

/// A folder in which openssl makes certificates.
struct Made(tempfile::TempDir);

const NAMES: &str = "subjectAltName=DNS:dns.test,IP:127.0.0.1";

impl Made {
    fn new() -> Made {
        let made = Made(tempfile::tempdir().unwrap());
        made.key("server", "P-256");
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, words: &str, more: &[&str]) {
        let mut command = Command::new("openssl");
        let ran = command.args(words.split(' ')).args(more).current_dir(self.0.path()).output().unwrap();
        assert!(ran.status.success(), "{words}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn key(&self, name: &str, curve: &str) {
        let file = format!("{name}.key");
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out {file}"), &[]);
    }

    /// As most do it: `openssl req -x509`. Writes NAME.crt with `server.key`.
    fn self_signed(&self, name: &str, extensions: &[&str]) -> PathBuf {
        let mut more = vec!["-subj", "/CN=dns.test"];
        more.extend(extensions.iter().flat_map(|extension| ["-addext", extension]));
        self.openssl(&format!("req -x509 -key server.key -days 30 -out {name}.crt"), &more);
        self.path(&format!("{name}.crt"))
    }

    /// With `openssl x509 -req`, which without extensions gives version 1. Signed by `by` if that isn't empty.
    fn signed(&self, name: &str, by: &str, days: i32, extensions: &str) -> PathBuf {
        self.openssl(&format!("req -new -key server.key -out {name}.csr"), &["-subj", "/CN=dns.test"]);
        let by = if by.is_empty() {
            "-signkey server.key".to_owned()
        } else {
            format!("-CA {by}.crt -CAkey {by}.key -CAcreateserial")
        };
        std::fs::write(self.path("extensions"), extensions).unwrap();
        let file = if extensions.is_empty() { "" } else { " -extfile extensions" };
        self.openssl(&format!("x509 -req -in {name}.csr {by} -days {days} -out {name}.crt{file}"), &[]);
        self.path(&format!("{name}.crt"))
    }

    fn authority(&self, name: &str, curve: &str) {
        self.key(name, curve);
        self.openssl(&format!("req -x509 -key {name}.key -days 30 -out {name}.crt"), &["-subj", "/CN=authority"]);
    }

    /// A handshake with a server that shows this certificate, by a client that trusts that one.
    fn shake(
        &self,
        shown: &Path,
        trusted: &Path,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Result<(), String> {
        let own = own(shown, &self.path("server.key"))?;
        let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let server = server.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        shake(server, Files { authority: Some(trusted.to_owned()), own: None }.load()?, name)
    }

    /// A handshake of a client that shows this certificate, if any, with a server that has this verifier.
    fn come(&self, shown: Option<&Path>, verifier: &Arc<dyn ClientCertVerifier>) -> Result<(), String> {
        let key = self.path("server.key");
        let server = self.self_signed("of-the-server", &[NAMES]);
        let mut results = [&TLS12, &TLS13].map(|version| {
            let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
            let own_of_server = own(&server, &key)?;
            let config = config
                .with_client_cert_verifier(verifier.clone())
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(own_of_server)));
            let files =
                Files { authority: Some(server.clone()), own: shown.map(|shown| (shown.to_owned(), key.clone())) };
            shake(config, files.load()?, "dns.test")
        });
        assert_eq!(results[0], results[1]);
        std::mem::replace(&mut results[0], Ok(()))
    }

    fn both(&self, shown: &Path, trusted: &Path, name: &str) -> Result<(), String> {
        let old = self.shake(shown, trusted, name, &TLS12);
        let new = self.shake(shown, trusted, name, &TLS13);
        assert_eq!(old, new);
        new
    }
}

/// A handshake.
fn shake(server: ServerConfig, client: ClientConfig, name: &str) -> Result<(), String> {
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|error| error.to_string())?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

const CLIENT: &str = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth";
const SERVER: &str = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:dns.test,IP:127.0.0.1";

#[test]
fn what_is_named_is_trusted() {
    let made = Made::new();
    made.authority("ca", "P-256");
    let leaf = made.signed("leaf", "ca", 30, SERVER);
    for (what, shown, trusted) in [
        ("openssl req -x509", made.self_signed("plain", &[NAMES]), None),
        ("with serverAuth", made.self_signed("usage", &[NAMES, "extendedKeyUsage=serverAuth"]), None),
        ("no authority", made.self_signed("no", &[NAMES, "basicConstraints=critical,CA:FALSE"]), None),
        ("without basicConstraints", made.signed("bare", "", 30, NAMES), None),
        ("only to sign", made.self_signed("sign", &[NAMES, "keyUsage=critical,keyCertSign"]), None),
        ("a leaf of another's", leaf.clone(), None),
        ("signed by one that is named", leaf.clone(), Some(made.path("ca.crt"))),
    ] {
        for name in ["dns.test", "127.0.0.1"] {
            let result = made.both(&shown, trusted.as_ref().unwrap_or(&shown), name);
            assert_eq!(result, Ok(()), "{what} as {name}");
        }
        let wrong = made.both(&shown, trusted.as_ref().unwrap_or(&shown), "other.test").unwrap_err();
        assert!(wrong.contains("other.test") && wrong.contains("dns.test"), "{what}: {wrong}");
    }
    // Among others, in one file.
    let all = ["ca.crt", "plain.crt"].map(|name| std::fs::read_to_string(made.path(name)).unwrap()).concat();
    std::fs::write(made.path("all.crt"), format!("some words\n{all}")).unwrap();
    for shown in ["plain.crt", "leaf.crt"] {
        assert_eq!(made.both(&made.path(shown), &made.path("all.crt"), "dns.test"), Ok(()), "{shown}");
    }
    assert!(made.both(&made.path("usage.crt"), &made.path("all.crt"), "dns.test").is_err());
}

#[test]
fn certificates_of_version_1_are_known_by_their_common_name() {
    let made = Made::new();
    let shown = made.signed("v1", "", 30, "");
    assert_eq!(made.both(&shown, &shown, "dns.test"), Ok(()));
    let wrong = made.both(&shown, &shown, "127.0.0.1").unwrap_err();
    assert!(wrong.contains("127.0.0.1") && wrong.contains("dns.test"), "{wrong}");
    // As an authority.
    made.key("ca", "P-384");
    made.openssl("req -new -key ca.key -out ca.csr", &["-subj", "/CN=authority"]);
    made.openssl("x509 -req -in ca.csr -signkey ca.key -days 30 -out ca.crt", &[]);
    let leaf = made.signed("leaf", "ca", 30, SERVER);
    assert_eq!(made.both(&leaf, &made.path("ca.crt"), "dns.test"), Ok(()));
    // Of an authority, and not named itself.
    let old = made.signed("old", "ca", 30, "");
    let refused = made.both(&old, &made.path("ca.crt"), "dns.test").unwrap_err();
    assert!(refused.contains("version 1"), "{refused}");
    // The key of another is not enough to show it.
    made.key("server", "P-256");
    assert!(made.both(&shown, &shown, "dns.test").unwrap_err().contains("is not the key"));
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let made = Made::new();
    made.authority("ca", "P-256");
    let good = made.self_signed("good", &[NAMES]);
    for (shown, trusted, reason) in [
        (made.signed("expired", "", -1, NAMES), None, "expired"),
        (made.signed("old", "ca", -1, SERVER), None, "expired"),
        (made.self_signed("client", &[NAMES, "extendedKeyUsage=clientAuth"]), None, "InvalidPurpose"),
        (made.self_signed("nameless", &[]), Some(&good), "not named itself"),
        (made.signed("foreign", "ca", 30, SERVER), Some(&good), "UnknownIssuer"),
    ] {
        let refused = made.both(&shown, trusted.unwrap_or(&shown), "dns.test").unwrap_err();
        assert!(refused.to_string().contains(reason), "{reason}: {refused}");
    }
    // Without subjectAltName the common name counts, of what was named itself.
    let nameless = made.path("nameless.crt");
    assert_eq!(made.both(&nameless, &nameless, "dns.test"), Ok(()));
    assert!(made.both(&nameless, &nameless, "other.test").unwrap_err().contains("dns.test"));
}

#[test]
fn files_that_will_not_do_are_told() {
    let made = Made::new();
    let good = made.self_signed("good", &[NAMES]);
    let (key, other) = (made.path("server.key"), made.path("other.key"));
    made.key("other", "P-256");
    made.key("odd", "P-521");
    made.openssl("pkey -in server.key -aes256 -passout pass:x -out locked.key", &[]);
    made.openssl("x509 -in good.crt -outform DER -out good.der", &[]);
    std::fs::write(made.path("empty"), "").unwrap();
    let torn = std::fs::read_to_string(&good).unwrap().replace("MII", "!!!");
    std::fs::write(made.path("torn"), torn).unwrap();
    for (authority, own, reason) in [
        (Some("absent"), None, "absent can't be read: No such file"),
        (Some("empty"), None, "no certificate in PEM form; it is empty"),
        (Some("good.der"), None, "openssl x509 -inform DER"),
        (Some("server.key"), None, "it has a private key"),
        (Some("torn"), None, "torn has no certificate in PEM form; the one in it is torn"),
        (None, Some((&good, "absent")), "absent can't be read"),
        (None, Some((&good, "good.crt")), "has no private key in PEM form; it has a certificate"),
        (None, Some((&good, "locked.key")), "it is encrypted"),
        (None, Some((&good, "odd.key")), "of a kind that can't be used"),
        (None, Some((&good, "other.key")), "other.key is not the key of the first certificate in"),
        (None, Some((&other, "other.key")), "it has a private key"),
    ] {
        let own = own.map(|(certificate, key)| (certificate.clone(), made.path(key)));
        let files = Files { authority: authority.map(|name| made.path(name)), own };
        let refused = files.load().unwrap_err();
        assert!(refused.to_string().contains(reason), "{reason}: {refused}");
    }
    let files = Files { authority: Some(good.clone()), own: Some((good, key)) };
    assert!(files.load().is_ok() && files.doubts().is_empty(), "{:?}", files.doubts());
    let expired = made.signed("expired", "", -1, NAMES);
    let files = Files { authority: Some(expired.clone()), own: Some((expired, made.path("server.key"))) };
    let doubts = files.doubts();
    assert!(
        doubts.len() == 2 && doubts.iter().all(|doubt| doubt.contains("\"dns.test\" has expired on 20")),
        "{doubts:?}"
    );
    made.authority("odd", "P-521");
    let doubts = Files { authority: Some(made.path("odd.crt")), own: None }.doubts();
    assert!(doubts.len() == 1 && doubts[0].contains("has a key of a kind that can't be checked"), "{doubts:?}");
}

#[test]
fn clients_are_trusted_as_servers_are() {
    let made = Made::new();
    made.authority("ca", "P-256");
    let leaf = made.signed("leaf", "ca", 30, CLIENT);
    let trusting = |trusted: &Path| clients(certificates(trusted).unwrap(), false).unwrap();
    for (what, shown) in [
        ("openssl req -x509", made.self_signed("plain", &[])),
        ("with clientAuth", made.self_signed("usage", &["extendedKeyUsage=clientAuth"])),
        ("of version 1", made.signed("v1", "", 30, "")),
        ("a leaf of another's", leaf.clone()),
    ] {
        assert_eq!(made.come(Some(&shown), &trusting(&shown)), Ok(()), "{what}");
    }
    assert_eq!(made.come(Some(&leaf), &trusting(&made.path("ca.crt"))), Ok(()));
    for (shown, trusted, reason) in [
        (made.signed("expired", "", -1, CLIENT), None, "expired"),
        (made.self_signed("server", &["extendedKeyUsage=serverAuth"]), None, "InvalidPurpose"),
        (leaf.clone(), Some(made.path("plain.crt")), "UnknownIssuer"),
    ] {
        let refused = made.come(Some(&shown), &trusting(trusted.as_ref().unwrap_or(&shown))).unwrap_err();
        assert!(refused.to_string().contains(reason), "{reason}: {refused}");
    }
    assert!(made.come(None, &trusting(&leaf)).is_err());
    // Where anybody may come, a certificate of any version will do.
    let (v1, expired) = (made.path("v1.crt"), made.path("expired.crt"));
    for (shown, may_be_missing, is_let_in) in
        [(Some(&v1), false, true), (Some(&expired), true, true), (None, true, true), (None, false, false)]
    {
        let come = made.come(shown.map(PathBuf::as_path), &any_client(may_be_missing));
        assert_eq!(come.is_ok(), is_let_in, "{shown:?} {may_be_missing}: {come:?}");
    }
}

#[test]
fn anybody_s_certificate_will_do_only_with_its_key() {
    let made = Made::new();
    made.key("other", "P-256");
    for shown in [made.signed("v1", "", 30, ""), made.signed("old", "", -1, SERVER)] {
        for version in [&TLS12, &TLS13] {
            let config = |key: &str| {
                let key = key_in_pem(&std::fs::read(made.path(key)).unwrap()).unwrap();
                let own = CertifiedKey::new(certificates(&shown).unwrap(), key);
                let config =
                    ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
                config.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            };
            let ours = || client(anybody(), None).unwrap();
            assert_eq!(shake(config("server.key"), ours(), "any.test"), Ok(()));
            let stolen = shake(config("other.key"), ours(), "any.test").unwrap_err();
            assert!(stolen.contains("BadSignature"), "{stolen}");
        }
    }
}

#[test]
fn keys_of_every_form_and_certificates_of_every_version() {
    let made = Made::new();
    let read = |name: &str| std::fs::read(made.path(name)).unwrap();
    let openssl = |words: &str| made.openssl(words, &[]);
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2");
    openssl("req -new -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.csr -subj /CN=me");
    // Without extensions: version 1.
    openssl("x509 -req -in rsa.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out rsa.crt -days 2");
    openssl("x509 -in rsa.crt -text -out with-text.crt");
    openssl("rsa -in rsa.key -traditional -out rsa.pkcs1");
    openssl("ecparam -name prime256v1 -genkey -out ec.key");
    openssl("req -x509 -key ec.key -out ec.crt -subj /CN=me -days 2");
    openssl("pkcs8 -topk8 -nocrypt -in ec.key -out ec.pkcs8");
    openssl("genpkey -algorithm ed25519 -out ed.key");
    openssl("req -x509 -key ed.key -out ed.crt -subj /CN=me -days 2");
    assert!(String::from_utf8_lossy(&read("with-text.crt")).contains("Version: 1 (0x0)"));
    for (certificate, private) in [
        ("rsa.crt", "rsa.key"),
        ("with-text.crt", "rsa.pkcs1"),
        ("ec.crt", "ec.key"),
        ("ec.crt", "ec.pkcs8"),
        ("ed.crt", "ed.key"),
    ] {
        assert!(own(&made.path(certificate), &made.path(private)).is_ok(), "{private}");
    }
    let others = pair(in_pem(&read("ec.crt")).unwrap(), key_in_pem(&read("rsa.key")).unwrap());
    assert_eq!(others.unwrap_err(), Unpaired::Another);
    // What stands around the authorities, and between them, is passed over.
    let mut all = read("with-text.crt");
    all.extend(b"trailing text\n-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n");
    all.extend(read("ca.crt"));
    all.extend(b"\n# and a remark");
    assert!(named(in_pem(&all).unwrap()).is_ok());
    openssl("pkcs8 -topk8 -in rsa.key -out locked.key -passout pass:x");
    openssl("rsa -in rsa.key -traditional -aes256 -passout pass:x -out locked.pkcs1");
    for locked in ["locked.key", "locked.pkcs1"] {
        assert!(key_in_pem(&read(locked)).is_err_and(|error| error.to_string().contains("encrypted")), "{locked}");
    }
    openssl("ecparam -name secp521r1 -genkey -noout -out p521.key");
    assert!(key_in_pem(&read("p521.key")).is_err_and(|error| error.to_string().contains("P-256 and P-384")));
    assert!(key_in_pem(b"nothing").is_err() && in_pem(&read("rsa.key")).is_err());
}

#[test]
fn any_bytes_are_read_without_harm() {
    let made = Made::new();
    let der = certificates(&made.self_signed("good", &[NAMES])).unwrap().remove(0).to_vec();
    let whole = Certificate::read(&der).unwrap();
    assert_eq!(
        (whole.version, whole.common_name, whole.has_names, whole.is_for_servers, whole.is_for_clients),
        (3, Some("dns.test"), true, true, true)
    );
    assert_eq!(whole.valid.1 - whole.valid.0, 30 * 86_400);
    for end in 0..der.len() {
        assert_eq!(Certificate::read(&der[..end]), None);
    }
    let mut bytes = der;
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xFF] {
            bytes[at] ^= change;
            let _ = Certificate::read(&bytes).map(|certificate| certificate.untimely(0));
            bytes[at] ^= change;
        }
    }
}
