//! What `--state kubernetes…` may say, and what is read of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

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
    let files = [(None, service_account(account.path(), "https://10.96.0.1:443"))];
    let chosen = kubeconfig::choose(&files, None).unwrap();
    let path = |name: &str| Some(account.path().join(name).to_string_lossy().into_owned());
    assert_eq!((chosen.cluster.certificate_authority, chosen.user.token_file), (path("ca.crt"), path("token")));
}

#[test]
fn a_server_is_completed_as_client_go_does() {
    for (text, says_tls, url) in [
        ("10.0.0.1:6443", true, "https://10.0.0.1:6443/"),
        ("10.0.0.1:6443/", true, "https://10.0.0.1:6443/"),
        ("10.0.0.1", true, "https://10.0.0.1/"),
        ("localhost:8080", false, "http://localhost:8080/"),
        ("[::1]:6443", true, "https://[::1]:6443/"),
        ("HTTPS://one:6443", false, "https://one:6443/"),
        (" https://one:6443 ", false, "https://one:6443/"),
        ("http://127.0.0.1:8001", true, "http://127.0.0.1:8001/"),
        ("https://one/k8s/clusters/c-1?x=y#z", true, "https://one/k8s/clusters/c-1"),
    ] {
        assert_eq!(kubeconfig::server(text, says_tls).unwrap().to_string(), url, "{text}");
    }
    for text in [
        "one/path",
        "ftp://one",
        "https://",
        "https://one:99999",
        "https://one:x",
        "one:0",
        "https://a b",
        "https://me:secret@one",
    ] {
        let error = kubeconfig::server(text, true).unwrap_err();
        assert!(!error.contains("secret"), "{text}: {error}");
    }
}

fn read(text: impl AsRef<[u8]>) -> Result<Login, AccessError> {
    let (folder, access) = folder("");
    std::fs::write(folder.path().join("config"), text).unwrap();
    access.read(&environment(&[]))
}

#[test]
fn forms_of_a_file_that_kubectl_takes() {
    let json = r#"{"current-context":"one","clusters":[{"name":"one","cluster":{"server":"https://one:6443"}}],
        "contexts":[{"name":"one","context":{"cluster":"one","user":""}}],"users":null}"#;
    let wide = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(unit).collect()
    };
    for text in [
        KUBECONFIG.as_bytes().to_vec(),
        [b"\xEF\xBB\xBF", KUBECONFIG.as_bytes()].concat(),
        wide(KUBECONFIG, u16::to_le_bytes),
        wide(KUBECONFIG, u16::to_be_bytes),
        KUBECONFIG.replace('\n', "\r\n").into_bytes(),
        json.into(),
        json.replace("        ", "\t").into(),
        // The last of two counts.
        KUBECONFIG.replace("current-context: one", "current-context: nowhere\ncurrent-context: one").into(),
        // What is empty isn't there.
        KUBECONFIG
            .replace("tokenFile: token", "tokenFile: token, token: '', client-certificate: '', client-key-data: ''")
            .into(),
        KUBECONFIG
            .replace(
                "tls-server-name: other",
                "proxy-url: '', certificate-authority: '', certificate-authority-data: ''",
            )
            .into(),
        // Nobody is one without a user.
        KUBECONFIG.replace("user: me", "user: nobody").into(),
    ] {
        let login = read(&text);
        assert_eq!(
            login.map(|login| login.urls).map_err(|e| e.to_string()).unwrap(),
            ["https://one:6443"],
            "{:?}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[test]
fn of_several_files_those_count_that_are_there() {
    let (folder, _access) = folder(KUBECONFIG);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let second = KUBECONFIG
        .replace("https://one:6443", "https://other:6443")
        .replace("current-context: one", "current-context: two");
    std::fs::write(path("second"), second).unwrap();
    let list = format!("{}::{}:{}", path("gone"), path("config"), path("second"));
    let login = Access::default().read(&|name| (name == "KUBECONFIG").then(|| OsString::from(&list))).unwrap();
    assert_eq!(login.urls, ["https://one:6443"]);
    // One that comes is noticed.
    assert!(login.files.until.is_none_or(|until| until > std::time::SystemTime::now()));
    std::fs::write(path("gone"), "").unwrap();
    assert!(login.files.have_changed());
    let list = format!("{}:{}", path("not"), path("there"));
    let error = Access::default()
        .read(&|name| (name == "KUBECONFIG").then(|| OsString::from(&list)))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("none of these"), "{error}");
}

/// None of these may reach a library: some would panic.
#[test]
fn what_is_wrong_is_said_with_file_and_field() {
    let user = |what: &str| KUBECONFIG.replace("tokenFile: token", what);
    let cluster = |what: &str| KUBECONFIG.replace("tls-server-name: other", what);
    for (text, part) in [
        (user(r#"token: "secret\nX: y""#), "users[me].user.token: has a character"),
        (user(r#"token: "secret\u0007""#), "users[me].user.token: has a character"),
        (
            user("client-certificate-data: secret, client-key: x"),
            "users[me].user.client-certificate-data: is no base64",
        ),
        (user("client-certificate: gone.crt, client-key: x"), "gone.crt can't be read"),
        (user("client-certificate-data: c2VjcmV0"), "users[me].user.client-key: is missing"),
        (user("client-key-data: c2VjcmV0"), "users[me].user.client-certificate: is missing"),
        (
            user("client-certificate-data: c2VjcmV0, client-key-data: c2VjcmV0"),
            "client-certificate-data: has no certificate",
        ),
        (user("auth-provider: {name: gcp}"), "users[me].user.auth-provider: no provider but oidc"),
        (user("exec: {command: ''}"), "users[me].user.exec.command: the kubeconfig's plugin has no command"),
        (
            user("exec: {command: ./gone, installHint: fetch it}"),
            "can't be started: No such file or directory (os error 2) (fetch it)",
        ),
        (user("exec: {command: 'false'}"), "the kubeconfig's plugin has failed: exit status: 1"),
        (user("exec: {command: echo, args: [secret]}"), "is no ExecCredential"),
        (user(r#"exec: {command: echo, args: ['{"status":{"token":"secret\nX"}}']}"#), "exec"),
        (user("as: \"secret\\n\", token: x"), "users[me].user.as: has a character"),
        (
            cluster("certificate-authority-data: secret!"),
            "clusters[one].cluster.certificate-authority-data: is no base64",
        ),
        (
            cluster("certificate-authority-data: c2VjcmV0"),
            "clusters[one].cluster.certificate-authority-data: has no certificate",
        ),
        (cluster("certificate-authority: gone"), "clusters[one].cluster.certificate-authority: "),
        (KUBECONFIG.replace("https://one:6443", "one/path"), "clusters[one].cluster.server: has a path and no scheme"),
        (KUBECONFIG.replace("server: 'https://one:6443'", "server: ''"), "clusters[one].cluster.server: is missing"),
        (KUBECONFIG.replace("current-context: one", ""), "current-context is missing"),
        (
            KUBECONFIG.replace("context: {cluster: one", "context: {cluster: none"),
            "contexts[one].context.cluster: there is no cluster",
        ),
    ] {
        let error = read(&text).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
        assert!(error.contains(part) && error.contains("config") && !error.contains("secret"), "{text}: {error}");
    }
    // Half a character.
    let error = read([0xFF, 0xFE, 0x61, 0x00, 0x62]).err().unwrap().to_string();
    assert!(error.contains("UTF-16"), "{error}");
    assert!(read([0x80, 0xFF]).err().unwrap().to_string().contains("UTF-8"));
    let token = |login: Login| secrecy::ExposeSecret::expose_secret(&login.config.auth_info.token.unwrap()).to_owned();
    assert_eq!(token(read(user("token: \"plain \\n\"")).unwrap()), "plain");
    let plugin =
        r#"exec: {command: echo, args: ['{"status":{"token":"plain","expirationTimestamp":"2001-01-01T00:00:00Z"}}']}"#;
    let login = read(user(plugin)).unwrap();
    // Not at once again.
    assert!(login.files.until.is_none_or(|until| until > std::time::SystemTime::now()));
    assert_eq!(token(login), "plain");
}
