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
    assert!(ended.failed().contains("services \"none\" not found"));
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

#[test]
fn the_namespaces_that_are_always_there_may_not_be_deleted() {
    let ground = Ground::new();
    let every = ["default", "kube-system", "kube-public", "kube-node-lease"];
    for name in every {
        ground.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"));
        ground.with_input(&format!("apply -n {name} -f -"), &service("a", "")).ok();
    }
    ground.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    let before = ground.bowline("get ns,svc -A -o name").ok();
    ground.write("ns.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: default}}");
    for words in [
        "delete ns default kube-system kube-public kube-node-lease",
        "delete ns/default namespaces/kube-system",
        "delete -f ns.yaml",
        "delete ns default --ignore-not-found",
        "delete ns default --dry-run=server",
    ] {
        let ended = ground.bowline(words);
        assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), ""), "{words}");
        assert!(
            ended.stderr.contains("\"default\": is forbidden: this namespace may not be deleted"),
            "{}",
            ended.stderr
        );
        assert_eq!(ground.bowline("get ns,svc -A -o name").ok(), before, "{words}");
    }
    let ended = ground.bowline("delete ns --all -o name");
    assert_eq!((ended.stdout, ended.stderr.matches("is forbidden").count()), ("namespace/shop\n".to_owned(), 4));
}

#[test]
fn a_namespace_without_its_own_object_is_not_found() {
    let ground = Ground::new();
    ground.with_input("apply -n shop -f -", &service("a", "")).ok();
    let ended = ground.bowline("delete ns shop");
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), ""));
    assert_eq!(ended.stderr.matches("namespaces \"shop\" not found").count(), 1, "{}", ended.stderr);
    assert_eq!(ground.bowline("delete ns shop --ignore-not-found").ok(), "");
    assert_eq!(ground.bowline("get svc -A -o name").ok(), "service/a\n");
}

#[test]
fn of_a_manifest_only_kind_and_name_count() {
    let ground = Ground::new();
    let names = "service/a\nservice/b\npod/p\ndeployment.apps/d\nendpointslice.discovery.k8s.io/e\nservice/g\n";
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4}\n---\n";
    let deployment = "---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}\n---\n";
    ground
        .apply(&(service("a", "") + &service("b", "") + &service("g", "") + &pod("p", "app: a") + deployment + slice));
    ground.write(
        "m.yaml",
        "kind: Service
metadata: {name: a}
---
{apiVersion: v1, kind: Service, metadata: {name: b, labels: {x: 7, 'a b': c}}, spec: {ports: [{port: 0}], sesionAffinity: yes}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {podIP: nowhere}}
---
{apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: d}}
---
{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {name: e}, addressType: Carrier}
---
apiVersion: v1
kind: List
items: [{apiVersion: v1, kind: Service, metadata: {name: g}}]
",
    );
    assert_eq!(ground.bowline("delete -f m.yaml -o name").ok(), names);
    ground.write("n.yaml", "{kind: Service}\n---\n{metadata: {name: a}}\n---\n{kind: Widget, metadata: {name: a}}\n");
    let ended = ground.bowline("delete -f n.yaml").failed();
    assert_eq!(ended.matches("has no kind or no name").count(), 2, "{ended}");
    assert!(ended.contains("n.yaml:4: \"Widget\" is no kind that is known"), "{ended}");
}

/// What went with its namespace is not missed.
#[test]
fn a_manifest_of_a_namespace_and_what_is_in_it() {
    let ground = Ground::new();
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n".to_owned()
        + &service("a", "").replace("{name: a,", "{name: a, namespace: shop,");
    ground.write("m.yaml", &text);
    ground.bowline("apply -f m.yaml").ok();
    assert_eq!(ground.bowline("delete -f m.yaml -o name --dry-run=server").ok(), "service/a\nnamespace/shop\n");
    assert_eq!(ground.bowline("delete -f m.yaml -o name").ok(), "service/a\nnamespace/shop\n");
}
