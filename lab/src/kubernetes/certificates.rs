//! Certificates: an authority of one's own, and what it signs.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Signs certificates, and keeps them and their keys as PEM files in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key, readable by its owner alone.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority, which trusts nobody else. Its certificate is `ca.crt` in the folder.
    pub fn new(folder: &Path, name: &str) -> Result<Authority> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Authority { folder: folder.to_owned(), issuer };
        write(&authority.certificate(), &authority.issuer.pem())?;
        // The controller manager signs with it.
        write(&authority.key(), &authority.issuer.key().serialize_pem())?;
        Ok(authority)
    }

    /// The authority's own certificate, which clients and servers trust.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The authority's own key.
    pub fn key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// A certificate for a server with these names and addresses, good for a client too (members of etcd
    /// are both). Written to `FILE.crt` and `FILE.key`; an older one of the name is replaced.
    pub fn server(&self, file: &str, names: &[&str], addresses: &[IpAddr]) -> Result<Certificate> {
        let names = names.iter().map(|&name| name.to_owned()).chain(addresses.iter().map(IpAddr::to_string));
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(file, file, &[], names.collect(), usages)
    }

    /// A certificate for a client: to Kubernetes the user `user` in these groups, to etcd the user `user`.
    pub fn client(&self, file: &str, user: &str, groups: &[&str]) -> Result<Certificate> {
        self.sign(file, user, groups, Vec::new(), vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A pair of keys that nobody signs, as Kubernetes wants for tokens of service accounts: `FILE.key` and
    /// `FILE.pub`.
    pub fn pair(&self, file: &str) -> Result<(PathBuf, PathBuf)> {
        let paths = ["key", "pub"].map(|ending| self.folder.join(format!("{file}.{ending}")));
        let key = KeyPair::generate()?;
        write(&paths[0], &key.serialize_pem())?;
        write(&paths[1], &key.public_key_pem())?;
        let [private, public] = paths;
        Ok((private, public))
    }

    fn sign(
        &self,
        file: &str,
        name: &str,
        groups: &[&str],
        names: Vec<String>,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Certificate> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        for &group in groups {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &self.issuer)?;
        let path = |ending: &str| self.folder.join(format!("{file}.{ending}"));
        let files = Certificate { certificate: path("crt"), key: path("key") };
        write(&files.certificate, &signed.pem())?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

/// Writes a file that its owner alone may read, whole or not at all.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let written = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&new);
    written
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
