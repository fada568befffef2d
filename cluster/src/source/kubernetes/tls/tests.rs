//! Certificates and keys in the forms that people have, as `openssl` makes them.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::path::Path;
use std::process::Command;

use super::*;

/// Runs `openssl` in a folder.
fn openssl(folder: &Path, command: &str) {
    let out = Command::new("openssl").args(command.split(' ')).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn keys_of_every_form_and_certificates_of_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    openssl(folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2");
    openssl(folder, "req -new -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.csr -subj /CN=me");
    // Without extensions: version 1.
    openssl(folder, "x509 -req -in rsa.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out rsa.crt -days 2");
    openssl(folder, "x509 -in rsa.crt -text -out with-text.crt");
    openssl(folder, "rsa -in rsa.key -traditional -out rsa.pkcs1");
    openssl(folder, "ecparam -name prime256v1 -genkey -out ec.key");
    openssl(folder, "req -x509 -key ec.key -out ec.crt -subj /CN=me -days 2");
    openssl(folder, "pkcs8 -topk8 -nocrypt -in ec.key -out ec.pkcs8");
    openssl(folder, "genpkey -algorithm ed25519 -out ed.key");
    openssl(folder, "req -x509 -key ed.key -out ed.crt -subj /CN=me -days 2");
    assert!(String::from_utf8_lossy(&read("with-text.crt")).contains("Version: 1 (0x0)"));
    for (certificate, private) in [
        ("rsa.crt", "rsa.key"),
        ("with-text.crt", "rsa.pkcs1"),
        ("ec.crt", "ec.key"),
        ("ec.crt", "ec.pkcs8"),
        ("ed.crt", "ed.key"),
    ] {
        let own = identity(certificates(&read(certificate)).unwrap(), key(&read(private)).unwrap());
        let own = own.unwrap_or_else(|error| panic!("{private} {error}"));
        assert!(config(&Trust::All, Some(own)).is_ok(), "{private}");
    }
    let others = identity(certificates(&read("ec.crt")).unwrap(), key(&read("rsa.key")).unwrap());
    assert!(others.is_err_and(|error| error.contains("is not the key")));
    // What stands around the authorities, and between them, is passed over.
    let mut all = read("with-text.crt");
    all.extend(b"trailing text\n-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n");
    all.extend(read("ca.crt"));
    all.extend(b"\n# and a remark");
    assert_eq!(authorities(&all).unwrap().len(), 2);
    openssl(folder, "pkcs8 -topk8 -in rsa.key -out locked.key -passout pass:x");
    assert!(key(&read("locked.key")).is_err_and(|error| error.contains("encrypted")));
    openssl(folder, "ecparam -name secp521r1 -genkey -noout -out p521.key");
    assert!(key(&read("p521.key")).is_err_and(|error| error.contains("make one of")));
    assert!(key(b"nothing").is_err() && certificates(&read("rsa.key")).is_err());
}
