//! What `--state kubernetes…` may say, and what is read of it.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use super::*;

fn parsed(text: &str) -> Result<String, String> {
    text.parse::<Access>().map(|access| access.to_string())
}

fn environment(variables: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
    move |name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
}

#[test]
fn what_can_be_written() {
    for text in [
        "kubernetes",
        "kubernetes:/etc/kubernetes/admin.conf",
        "kubernetes:east.conf?context=admin@east",
        "kubernetes?apiserver=https://10.0.0.1:6443,https://[fd00::1]:6443",
        "kubernetes:east.conf?context=arn:aws:eks/east&apiserver=https://east.example:443",
    ] {
        assert_eq!(parsed(text).as_deref(), Ok(text));
    }
    assert_eq!(parsed("").as_deref(), Ok("kubernetes"));
}

#[test]
fn what_can_not_be_written() {
    for (text, part) in [
        ("kubernetes:", "no file follows"),
        ("kubernetesfile", "is unclear"),
        ("kubernetes?context=", "not known or empty"),
        ("kubernetes?token=abc", "not known or empty"),
        ("kubernetes?apiserver=10.0.0.1:6443", "https://HOST:PORT"),
        ("kubernetes?apiserver=http://10.0.0.1:6443", "https://"),
        ("kubernetes?apiserver=https://me:secret@host", "credentials belong in the kubeconfig"),
        ("kubernetes?apiserver=https://host/path", "something follows"),
    ] {
        let error = parsed(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
        assert!(!error.contains("abc") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn flags_count_for_what_a_state_does_not_say() {
    let urls = apiservers("https://flag:6443").unwrap();
    let access: Access = "kubernetes?context=c".parse().unwrap();
    let access = access.or(Some(Path::new("flag.conf")), &urls);
    assert_eq!(access.to_string(), "kubernetes:flag.conf?context=c&apiserver=https://flag:6443");
    let own: Access = "kubernetes:own.conf?apiserver=https://own:6443".parse().unwrap();
    assert_eq!(own.clone().or(Some(Path::new("flag.conf")), &urls), own);
}

#[test]
fn a_pod_needs_an_address_that_is_no_service() {
    let pod = environment(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")]);
    let check = |text: &str| text.parse::<Access>().unwrap().check(&pod);
    let Err(AccessError::Never(reason)) = check("kubernetes") else { unreachable!("refused for good") };
    assert!(reason.contains("10.96.0.1") && reason.contains("--apiserver"), "{reason}");
    assert!(matches!(check("kubernetes?apiserver=https://10.96.0.1:443"), Err(AccessError::Never(_))));
    assert_eq!(check("kubernetes?apiserver=https://192.168.1.1:6443"), Ok(()));
    assert_eq!(check("kubernetes:some.conf"), Ok(()));
    let other = Access { allow_service_address: true, ..Access::default() };
    assert_eq!(other.check(&pod), Ok(()));
    let named = environment(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBECONFIG", "some.conf")]);
    assert_eq!(Access::default().check(&named), Ok(()));
}

const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: one, cluster: {server: 'https://one:6443', tls-server-name: other}}
- {name: two, cluster: {server: 'https://two:6443'}}
users:
- {name: me, user: {tokenFile: token}}
contexts:
- {name: one, context: {cluster: one, user: me}}
- {name: two, context: {cluster: two, user: me}}
";

fn folder(kubeconfig: &str) -> (tempfile::TempDir, Access) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config"), kubeconfig).unwrap();
    std::fs::write(folder.path().join("token"), "secret\n").unwrap();
    let access = Access { kubeconfig: Some(folder.path().join("config")), ..Access::default() };
    (folder, access)
}

#[test]
fn a_kubeconfig_its_contexts_and_other_servers() {
    let (_folder, access) = folder(KUBECONFIG);
    let none = environment(&[]);
    let login = access.read(&none).unwrap();
    assert_eq!(login.urls, ["https://one:6443"]);
    assert_eq!(login.config.tls_server_name.as_deref(), Some("other"));
    let other = Access { context: Some("two".to_owned()), ..access.clone() };
    assert_eq!(other.read(&none).unwrap().urls, ["https://two:6443"]);
    let urls = apiservers("https://a:6443,https://b:6443").unwrap();
    let login = Access { apiservers: urls.clone(), ..access }.read(&none).unwrap();
    assert_eq!((login.urls, login.config.tls_server_name), (urls, None));
}

#[test]
fn files_that_change_are_noticed() {
    let (folder, access) = folder(KUBECONFIG);
    let files = access.read(&environment(&[])).unwrap().files;
    assert!(!files.have_changed());
    std::fs::write(folder.path().join("token"), "another\n").unwrap();
    assert!(files.have_changed());
    let files = access.read(&environment(&[])).unwrap().files;
    std::fs::remove_file(folder.path().join("token")).unwrap();
    assert!(files.have_changed());
}

#[test]
fn what_is_wrong_with_a_kubeconfig_is_told_without_what_is_in_it() {
    for (text, part) in [
        (KUBECONFIG.replace("current-context: one", "current-context: three"), "three"),
        (KUBECONFIG.replace("tokenFile: token", "token: [secret"), "line"),
        (KUBECONFIG.replace("tokenFile: token", "tokenFile: gone"), "gone can't be read"),
        (KUBECONFIG.replace("https://one", "https://me:secret@one"), "has a user in it"),
        (
            KUBECONFIG.replace("tls-server-name: other", "proxy-url: http://me:secret@proxy"),
            "proxies are not supported",
        ),
    ] {
        let (_folder, access) = folder(&text);
        let error = access.read(&environment(&[])).err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("secret"), "{error}");
    }
    let gone = Access { kubeconfig: Some("/nowhere/config".into()), ..Access::default() };
    assert!(gone.read(&environment(&[])).err().unwrap().to_string().contains("/nowhere/config"));
}

#[test]
fn a_pod_reads_its_service_account() {
    let account = tempfile::tempdir().unwrap();
    let kubeconfig = service_account(account.path(), "https://10.96.0.1:443");
    let files: Vec<_> = files_of(&kubeconfig).into_iter().map(PathBuf::from).collect();
    assert_eq!(files, [account.path().join("ca.crt"), account.path().join("token")]);
}
