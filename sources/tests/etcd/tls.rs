//! TLS: what is said when certificates don't fit, and certificates that are replaced while it runs.

use std::fs;
use std::path::{Path, PathBuf};

use bowline_etcd::Location;
use bowline_lab::kubernetes::{Authority, Certificate, EtcdOptions};
use etcd_client::{ConnectOptions, Identity, TlsOptions};

use crate::battery::{Event, Place, Running, service};
use crate::place::{Site, Writer};

const ONE: &str = "10.0.0.1";
const TWO: &str = "10.0.0.2";

/// An etcd that speaks TLS and wants certificates, and the files of its client.
struct Secured {
    site: Site,
    files: PathBuf,
}

impl Secured {
    fn new() -> Secured {
        let site = Site::with(&EtcdOptions { tls: true, ..EtcdOptions::default() }, "");
        let files = site.lab.folder("client").unwrap();
        let mut secured = Secured { site, files };
        let etcd = &secured.site.etcd;
        let (ca, own) = (etcd.authority().unwrap().certificate(), etcd.client_certificate().unwrap().clone());
        secured.install(&ca, &own);
        let put = service("a", ONE);
        secured.site.put("a", &put);
        secured
    }

    /// Gives the client these certificates, as a rotation does: each file replaced whole.
    fn install(&mut self, ca: &Path, own: &Certificate) {
        for (from, name) in [(ca, "ca.crt"), (&own.certificate, "own.crt"), (&own.key, "own.key")] {
            let next = self.files.join("next");
            fs::copy(from, &next).unwrap();
            fs::rename(&next, self.files.join(name)).unwrap();
        }
        let read = |name: &str| fs::read(self.files.join(name)).unwrap();
        let tls = TlsOptions::new()
            .ca_certificate(etcd_client::Certificate::from_pem(read("ca.crt")))
            .identity(Identity::from_pem(read("own.crt"), read("own.key")));
        self.site.writer = Writer::new(self.site.etcd.urls(), Some(ConnectOptions::new().with_tls(tls)));
        self.site.location = self.location(&self.site.etcd.urls()[0], "ca.crt", Some("own")).parse().unwrap();
    }

    fn location(&self, url: &str, ca: &str, own: Option<&str>) -> String {
        let file = |name: &str| self.files.join(name).display().to_string();
        let own = own.map(|own| format!("&cert={}&key={}", file(&format!("{own}.crt")), file(&format!("{own}.key"))));
        format!("etcd:{url}?cacert={}{}", file(ca), own.unwrap_or_default())
    }

    /// Why a source of this location is away.
    fn refusal(&self, location: &str) -> String {
        let location: Location = location.parse().unwrap();
        let source = bowline_sources::etcd::Etcd::new(location);
        Running::start(Box::new(source)).until_away()
    }
}

#[test]
fn certificates_that_do_not_fit_are_told_with_what_to_do() {
    let secured = Secured::new();
    let url = secured.site.etcd.urls()[0].clone();
    let other = Authority::new(&secured.site.lab.folder("other").unwrap(), "another").unwrap();
    let stranger = other.client("stranger", "root", &[]).unwrap();
    fs::copy(other.certificate(), secured.files.join("other.crt")).unwrap();
    fs::copy(&stranger.certificate, secured.files.join("stranger.crt")).unwrap();
    fs::copy(&stranger.key, secured.files.join("stranger.key")).unwrap();
    let by_name = format!("https://etcd.invalid:{}", url.rsplit(':').next().unwrap());
    // Of a client's certificate a server complains after it has closed: that may come through, or not.
    for (location, says) in [
        (secured.location(&url, "other.crt", Some("own")), "from another authority; give the right one with cacert="),
        (secured.location(&url, "ca.crt", None), "cert="),
        (secured.location(&url, "ca.crt", Some("stranger")), "cert="),
        (secured.location(&url, "missing.crt", Some("own")), "missing.crt can't be read: No such file"),
        (secured.location(&url, "own.key", Some("own")), "cacert="),
        (secured.location(&by_name, "ca.crt", Some("own")), "the name of the host is not known"),
        (format!("etcd:{}", url.replace("https", "http")), "the server may speak TLS; write https://"),
    ] {
        let refusal = secured.refusal(&location);
        assert!(refusal.contains(says), "{location}: {refusal}");
        assert!(refusal.contains("http"), "names the endpoint: {refusal}");
    }
}

#[test]
fn a_certificate_for_other_names_is_told() {
    let secured = Secured::new();
    let etcd = &secured.site.etcd;
    // etcd reads it anew at each connection.
    etcd.authority().unwrap().server("etcd-0", &["etcd.example"], &[]).unwrap();
    let refusal = secured.refusal(&secured.location(&etcd.urls()[0], "ca.crt", Some("own")));
    assert!(refusal.contains("the server's certificate names other hosts"), "{refusal}");
}

#[test]
fn a_server_without_tls_is_told() {
    let site = Site::new();
    let secured = Secured::new();
    let url = site.etcd.urls()[0].replace("http", "https");
    let refusal = secured.refusal(&secured.location(&url, "ca.crt", Some("own")));
    assert!(refusal.contains("write http://"), "{refusal}");
}

#[test]
fn all_certificates_are_replaced_while_it_runs() {
    let mut secured = Secured::new();
    let running = Running::synced(secured.site.source());
    let folder = secured.site.servers.folder("etcd-certificates").unwrap();
    let address = secured.site.servers.address();
    // In the same files: etcd has their names in its flags.
    let next = Authority::new(&folder, "the next authority").unwrap();
    next.server("etcd-0", &[], &[address]).unwrap();
    let own = next.client("client", "root", &[]).unwrap();
    secured.site.etcd.members_mut()[0].stop().unwrap();
    secured.site.etcd.members_mut()[0].start().unwrap();
    running.until_event(Event::Away);
    secured.install(&next.certificate(), &own);
    running.until_event(Event::Back);
    secured.site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
    assert_eq!(running.past_ips("a"), [Some(ONE.into()), Some(TWO.into())]);
}

#[test]
fn the_server_s_own_certificate_may_be_the_authority() {
    let secured = Secured::new();
    let url = &secured.site.etcd.urls()[0];
    let folder = secured.site.servers.folder("etcd-certificates").unwrap();
    let synced = |ca: &str| {
        let location: Location = secured.location(url, ca, Some("own")).parse().unwrap();
        let running = Running::synced(Box::new(bowline_sources::etcd::Etcd::new(location)));
        running.until_ip("a", Some(ONE));
    };
    let openssl = |words: &str| {
        let ran = std::process::Command::new("openssl").args(words.split(' ')).current_dir(&folder).output().unwrap();
        assert!(ran.status.success(), "{words}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    let install = |name: &str| {
        fs::copy(folder.join("etcd-0.crt"), secured.files.join(name)).unwrap();
    };
    // As it is, signed by another. etcd reads its certificate anew at each connection.
    install("leaf.crt");
    synced("leaf.crt");
    // As most make one: an authority that has signed itself.
    let names = format!("-subj /CN=etcd -addext subjectAltName=IP:{}", secured.site.servers.address());
    openssl(&format!("req -x509 -key etcd-0.key -days 30 -out next.crt {names}"));
    fs::rename(folder.join("next.crt"), folder.join("etcd-0.crt")).unwrap();
    install("itself.crt");
    synced("itself.crt");
    // Another's is still refused, and so is one that is too old.
    let refusal = secured.refusal(&secured.location(url, "leaf.crt", Some("own")));
    assert!(refusal.contains("cacert="), "{refusal}");
    openssl(&format!("req -new -key etcd-0.key -out next.csr {names}"));
    openssl("x509 -req -in next.csr -copy_extensions copy -signkey etcd-0.key -days -1 -out next.crt");
    fs::rename(folder.join("next.crt"), folder.join("etcd-0.crt")).unwrap();
    install("old.crt");
    let refusal = secured.refusal(&secured.location(url, "old.crt", Some("own")));
    assert!(refusal.contains("expired"), "{refusal}");
}

/// etcd takes it, and the library that asks etcd does not: it is said, with what to do.
#[test]
fn a_client_s_certificate_of_version_1_is_told_with_what_to_do() {
    let secured = Secured::new();
    let folder = secured.site.servers.folder("etcd-certificates").unwrap();
    for words in [
        "req -new -newkey rsa:2048 -nodes -keyout v1.key -out v1.csr -subj /CN=root",
        "x509 -req -in v1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out v1.crt -days 2",
    ] {
        let ran = std::process::Command::new("openssl").args(words.split(' ')).current_dir(&folder).output().unwrap();
        assert!(ran.status.success(), "{words}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    for name in ["v1.crt", "v1.key"] {
        fs::copy(folder.join(name), secured.files.join(name)).unwrap();
    }
    let refusal = secured.refusal(&secured.location(&secured.site.etcd.urls()[0], "ca.crt", Some("v1")));
    assert!(refusal.contains("cert=") && refusal.contains("v1.crt is of X.509 version 1"), "{refusal}");
    assert!(refusal.contains("make one of version 3"), "{refusal}");
}
