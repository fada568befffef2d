//! `bowline delete`.

use crate::ground::{Ground, pod, service};

#[test]
fn by_name_by_file_and_by_label() {
    let ground = Ground::new();
    ground.write("m.yaml", &(service("a", "") + &service("b", "") + &pod("p", "app: a")));
    let all = "service/a\nservice/b\npod/p\n";
    let apply = || assert_eq!(ground.bowline("apply -f m.yaml -o name").ok(), all);
    apply();
    assert_eq!(
        ground.bowline("delete service a b").ok(),
        "service \"a\" deleted from default namespace\nservice \"b\" deleted from default namespace\n"
    );
    assert_eq!(ground.bowline("delete pod/p -o name").ok(), "pod/p\n");
    apply();
    assert_eq!(ground.bowline("delete -f m.yaml -o name").ok(), all);
    apply();
    assert_eq!(ground.bowline("delete svc,pods -l app=a -o name").ok(), "service/a\npod/p\n");
    assert_eq!(ground.bowline("delete svc --all -o name").ok(), "service/b\n");
    assert_eq!(ground.bowline("delete svc --all").ok(), "No resources found\n");
}

#[test]
fn what_is_not_there() {
    let ground = Ground::new();
    ground.apply(&service("a", ""));
    let ended = ground.bowline("delete service none a");
    assert_eq!(ended.stdout, "service \"a\" deleted from default namespace\n");
    assert!(ended.failed().contains("service \"none\" not found"));
    assert_eq!(ground.bowline("delete service none --ignore-not-found").ok(), "");
    for (words, said) in [
        ("delete service", "which of the service? give names, -l SELECTOR, or --all"),
        ("delete", "give -f FILE, or a kind and names"),
        ("delete service a --all", "give one or the other"),
        ("delete widget a", "\"widget\" is no kind that is known"),
    ] {
        assert!(ground.bowline(words).failed().contains(said), "{words}");
    }
}

#[test]
fn a_namespace_goes_with_what_is_in_it() {
    let ground = Ground::new();
    ground.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    ground.with_input("apply -n shop -f -", &(service("a", "") + &pod("p", "app: a"))).ok();
    ground.apply(&service("stays", ""));
    assert_eq!(ground.bowline("delete namespace shop -o name").ok(), "pod/p\nservice/a\nnamespace/shop\n");
    assert_eq!(ground.bowline("get ns,svc,pods -A -o name").ok(), "service/stays\n");
}
