//! `bowline apply`.

use serde_json::json;

use crate::ground::{Ground, pod, service};

#[test]
fn created_configured_unchanged() {
    let ground = Ground::new();
    let both = service("web", "") + &pod("web-1", "app: web");
    assert_eq!(ground.apply(&both), "service/web created\npod/web-1 created\n");
    assert_eq!(ground.apply(&both), "service/web unchanged\npod/web-1 unchanged\n");
    let changed = service("web", "sessionAffinity: ClientIP") + &pod("web-1", "app: web");
    assert_eq!(ground.apply(&changed), "service/web configured\npod/web-1 unchanged\n");
    // What is shown can be applied as it is, in both forms. It says more than the manifest did, and is
    // remembered as what was applied; nothing else changes.
    for (output, outcome) in [("yaml", "configured"), ("json", "unchanged")] {
        let shown = ground.bowline(&format!("get services,pods -o {output}")).ok();
        assert_eq!(ground.apply(&shown), format!("service/web {outcome}\npod/web-1 {outcome}\n"));
    }
    assert_eq!(ground.json("get service web")["metadata"]["generation"], 2);
}

#[test]
fn files_folders_and_standard_input() {
    let ground = Ground::new();
    ground.write("b.yaml", &service("b", ""));
    ground.write("a.json", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}).to_string());
    ground.write("below/c.yml", &service("c", ""));
    ground.write("notes.txt", "no manifest");
    assert_eq!(ground.bowline("apply -f .").ok(), "namespace/a created\nservice/b created\n");
    assert_eq!(ground.bowline("apply -R -f .").ok(), "namespace/a unchanged\nservice/b unchanged\nservice/c created\n");
    assert_eq!(ground.bowline("apply -f b.yaml -f below/c.yml").ok(), "service/b unchanged\nservice/c unchanged\n");
    for (words, said) in [
        ("apply -f nowhere.yaml", "nowhere.yaml: there is no such file"),
        ("apply", "give -f FILE"),
        ("apply -f https://example.com/a.yaml", "curl -fsS https://example.com/a.yaml"),
    ] {
        assert!(ground.bowline(words).failed().contains(said), "{words}");
    }
    ground.write("empty/x.txt", "");
    assert!(ground.bowline("apply -f empty").failed().contains("has no *.yaml, *.yml or *.json"));
    assert!(ground.with_input("apply -f -", "# nothing\n").failed().contains("no objects"));
}

#[test]
fn a_bad_object_among_good_ones() {
    let ground = Ground::new();
    ground.apply(&service("taken", "clusterIP: 10.96.0.10"));
    let manifests = service("good", "")
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 0}]}\n"
        + &service("same", "clusterIP: 10.96.0.10")
        + "---\nkind: [\n"
        + &service("typo", "sesionAffinity: ClientIP")
        + &service("last", "");
    ground.write("m.yaml", &manifests);
    let ended = ground.bowline("apply -f m.yaml");
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stdout, "service/good created\nservice/last created\n");
    for said in [
        "m.yaml:10: Service default/bad: spec.ports[0].port: is 0",
        "m.yaml:11: service/same: spec.clusterIPs: 10.96.0.10 belongs to Service default/taken",
        "m.yaml:17: can't be read",
        "m.yaml:18: service/typo: spec.sesionAffinity: is no field of this kind",
        "4 objects were refused",
    ] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
}

#[test]
fn a_newer_version_is_not_overwritten() {
    let ground = Ground::new();
    ground.apply(&service("web", ""));
    let read = ground.bowline("get service web -o yaml").ok();
    ground.apply(&service("web", "sessionAffinity: ClientIP"));
    let said = ground.with_input("apply -f -", &read).failed();
    assert!(said.contains("service/web: was changed since you read it: you have version "), "{said}");
    // Read again, it goes.
    let read = ground.bowline("get service web -o yaml").ok();
    assert_eq!(ground.apply(&read.replace("app: web", "app: other")), "service/web configured\n");
}

#[test]
fn namespaces() {
    let ground = Ground::new();
    assert_eq!(ground.with_input("apply -n shop -f -", &service("web", "")).ok(), "service/web created\n");
    let own = service("own", "").replace("{name: own", "{namespace: mine, name: own");
    let ended = ground.with_input("apply -n shop -f -", &(own.clone() + &service("other", "")));
    assert_eq!(ended.stdout, "service/other created\n");
    assert!(ended.failed().contains("is \"mine\", but --namespace is \"shop\""));
    ground.apply(&own);
    let all = ground.bowline("get services -A -o name").ok();
    assert_eq!(all, "service/own\nservice/other\nservice/web\n");
    assert_eq!(ground.bowline("get services -n mine -o name").ok(), "service/own\n");
}

#[test]
fn dry_runs_store_nothing() {
    let ground = Ground::new();
    let manifest = service("web", "type: NodePort");
    assert_eq!(ground.with_input("apply --dry-run -f -", &manifest).ok(), "service/web created (dry run)\n");
    let server = ground.with_input("apply --dry-run=server -f - -o yaml", &manifest).ok();
    assert!(server.contains("clusterIP: \"10.") && server.contains("nodePort: 3"), "{server}");
    assert!(ground.bowline("get services").stderr.contains("No resources found in default namespace."));
    ground.apply(&manifest);
    assert_eq!(
        ground.bowline("delete service web --dry-run=server").ok(),
        "service \"web\" deleted from default namespace (server dry run)\n"
    );
    assert_eq!(ground.bowline("get services -o name").ok(), "service/web\n");
}

#[test]
fn output_is_the_objects_instead_of_messages() {
    let ground = Ground::new();
    assert_eq!(ground.with_input("apply -f - -o name", &service("web", "")).ok(), "service/web\n");
    let text = ground.with_input("apply -f - -o json", &service("web", "")).ok();
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&object["kind"], &object["metadata"]["name"]), (&json!("Service"), &json!("web")));
    assert!(object["metadata"]["resourceVersion"].is_string());
}

#[test]
fn prune_deletes_what_is_in_no_manifest_now() {
    let ground = Ground::new();
    let web = |name: &str| service(name, "").replace(&format!("app: {name}"), "app: shop");
    ground.apply(&(web("a") + &web("b") + &service("other", "") + &pod("p", "app: shop")));
    ground.with_input("apply -n elsewhere -f -", &web("far")).ok();
    ground.apply("{apiVersion: v1, kind: Node, metadata: {name: node, labels: {app: shop}}}");
    assert!(ground.with_input("apply --prune -f -", &web("a")).failed().contains("--prune needs a selector"));
    let ended = ground.with_input("apply --prune -l app=shop -f - --dry-run=server", &web("a")).ok();
    assert_eq!(
        ended,
        "service/a unchanged (server dry run)\npod/p pruned (server dry run)\nservice/b pruned (server dry run)\n"
    );
    let only = ground.with_input("apply --prune -l app=shop --prune-allowlist core/v1/Service -f -", &web("a")).ok();
    assert_eq!(only, "service/a unchanged\nservice/b pruned\n");
    // Nothing is pruned where something could not be applied.
    let bad = ground.with_input("apply --prune -l app=shop -f -", &(web("a") + "---\nkind: [\n"));
    assert!(!bad.stdout.contains("pruned") && !bad.status.success(), "{bad:?}");
    assert_eq!(
        ground.with_input("apply --prune -l app=shop -f -", &web("a")).ok(),
        "service/a unchanged\npod/p pruned\n"
    );
    let left = ground.bowline("get services,nodes,pods -A -o name").ok();
    assert_eq!(left, "service/a\nservice/other\nservice/far\nnode/node\n");
    assert_eq!(
        ground.with_input("apply --prune --all -f -", &web("a")).ok(),
        "service/a unchanged\nservice/other pruned\n"
    );
}

#[test]
fn states_that_are_no_etcd_say_who_writes_there() {
    let ground = Ground::new();
    ground.write("m.yaml", &service("web", ""));
    for (state, said) in [
        ("files:/etc/bowline", "edit the manifests in /etc/bowline"),
        ("kubernetes:/nowhere", "for a Kubernetes API server use kubectl"),
    ] {
        for words in ["apply -f m.yaml", "delete -f m.yaml", "diff -f m.yaml", "get pods"] {
            let ended = ground.bowline(&format!("{words} --state {state}")).failed();
            assert!(ended.contains(said), "{words}: {ended}");
        }
        let ended = ground.command("apply -f m.yaml").env("BOWLINE_STATE", state).output().unwrap();
        assert!(String::from_utf8_lossy(&ended.stderr).contains(said));
    }
    let ended = ground.command("apply -f m.yaml").env_remove("BOWLINE_STATE").output().unwrap();
    assert!(String::from_utf8_lossy(&ended.stderr).contains("which state? give --state etcd:URL,URL"));
}

#[test]
fn settings_are_those_of_the_first_apply() {
    let ground = Ground::new();
    let flags = "--service-cluster-ip-range 10.5.0.0/24 --service-node-port-range 31000-31009";
    ground.with_input(&format!("apply -f - {flags}"), &service("web", "type: NodePort")).ok();
    ground.apply(&service("more", "type: NodePort"));
    for name in ["web", "more"] {
        let spec = &ground.json(&format!("get service {name}"))["spec"];
        assert!(spec["clusterIP"].as_str().unwrap().starts_with("10.5.0."), "{spec}");
        assert!((31_000..31_010).contains(&spec["ports"][0]["nodePort"].as_u64().unwrap()), "{spec}");
    }
    assert!(ground.bowline("apply -f m.yaml --service-node-port-range 5-3").failed().contains("30000-32767"));
}

/// What `kubectl get -o yaml` shows of another cluster.
#[test]
fn a_dump_of_another_cluster_is_made_anew() {
    let ground = Ground::new();
    let dump = r#"
apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop, uid: 11111111-2222-3333-4444-555555555555, resourceVersion: "987654", creationTimestamp: "2024-05-06T07:08:09Z",
    labels: {kubernetes.io/metadata.name: shop}}
  spec: {finalizers: [kubernetes]}
  status: {phase: Active}
- apiVersion: v1
  kind: Service
  metadata:
    name: web
    namespace: shop
    uid: 66666666-2222-3333-4444-555555555555
    resourceVersion: "123456"
    generation: 7
    selfLink: /api/v1/namespaces/shop/services/web
    creationTimestamp: "2024-05-06T07:08:09.123456789+02:00"
    deletionTimestamp: "2024-05-06T07:08:09Z"
    deletionGracePeriodSeconds: 0
    ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: x, uid: 7, controller: true}]
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: "{\"kind\":\"Service\"}"
    managedFields:
    - {apiVersion: v1, fieldsType: FieldsV1, manager: kubectl, operation: Update, time: "2024-05-06T07:08:09Z", fieldsV1: {"f:spec": {"f:ports": {}}}}
  spec: {clusterIP: 10.96.77.1, clusterIPs: [10.96.77.1], internalTrafficPolicy: Cluster, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack,
    ports: [{port: 80, protocol: TCP, targetPort: 80}], selector: {app: web}, sessionAffinity: None, type: ClusterIP}
  status: {loadBalancer: {}}
"#;
    assert_eq!(ground.apply(&dump.replace("uid: 7,", "uid: \"7\",")), "namespace/shop created\nservice/web created\n");
    let made = ground.json("get service web -n shop");
    assert_eq!(made["spec"]["clusterIP"], "10.96.77.1");
    assert_ne!(made["metadata"]["uid"], "66666666-2222-3333-4444-555555555555");
    assert!(made["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn what_nobody_reads_is_not_created() {
    let ground = Ground::new();
    let deployment = |name: &str, replicas: u32| {
        format!(
            "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{replicas: {replicas}}}}}\n"
        )
    };
    let apply = |text: &str| ground.with_input("apply -f -", text);
    let ended = apply(&(deployment("a", 1) + &deployment("b", 1) + &service("web", "")));
    assert_eq!(
        ended.stdout,
        "deployment.apps/a stored, not read\ndeployment.apps/b stored, not read\nservice/web created\n"
    );
    assert_eq!(ended.stderr.matches("is a kind that Bowline doesn't read").count(), 1, "once: {}", ended.stderr);
    assert_eq!(apply(&deployment("a", 1)).ok(), "deployment.apps/a stored already, not read\n");
    assert_eq!(apply(&deployment("a", 2)).ok(), "deployment.apps/a stored anew, not read\n");
}

#[test]
fn endpoints_are_stored_and_shown() {
    let ground = Ground::new();
    let text = "{apiVersion: v1, kind: Endpoints, metadata: {name: db}, subsets: [{addresses: [{ip: 192.0.2.1}, {ip: 192.0.2.2}],
 ports: [{port: 5432, name: a}, {port: 5433, name: b}]}]}\n---\n{apiVersion: v1, kind: Endpoints, metadata: {name: empty}}\n";
    assert_eq!(ground.apply(text), "endpoints/db created\nendpoints/empty created\n");
    let shown = crate::ground::words(&ground.bowline("get endpoints").ok());
    assert_eq!(shown[0], ["NAME", "ENDPOINTS", "AGE"]);
    let db = "192.0.2.1:5432,192.0.2.2:5432,192.0.2.1:5433 + 1 more...";
    assert_eq!(shown[1][..5].join(" "), format!("db {db}"));
    assert_eq!(shown[2][..2], ["empty", "<none>"]);
    assert!(ground.with_input("apply -f -", &text.replace("192.0.2.1", "127.0.0.1")).failed().contains("loopback"));
    assert!(ground.with_input("apply -f -", &text.replace("addresses:", "adresses:")).failed().contains("adresses"));
}

/// Octets with leading zeros are decimal, and two spellings are one address (kubernetes#108074).
#[test]
fn addresses_are_read_as_kubernetes_reads_them() {
    let ground = Ground::new();
    assert_eq!(ground.apply(&service("web", "clusterIP: 10.96.003.008")), "service/web created\n");
    assert_eq!(ground.json("get service web")["spec"]["clusterIPs"], json!(["10.96.003.008"]));
    let ended = ground.with_input("apply -f -", &service("other", "clusterIP: 10.96.3.8")).failed();
    assert!(ended.contains("10.96.3.8 belongs to Service default/web"), "{ended}");
    ground.bowline("delete service web").ok();
    ground.apply(&service("other", "clusterIP: 10.96.3.8"));
}

#[test]
fn spans_of_time_are_kubectls() {
    let ground = Ground::new();
    for span in ["5s", "1m30s", "0", "7"] {
        ground.with_input(&format!("apply -f - --request-timeout={span}"), &service("web", "")).ok();
    }
    assert!(ground.bowline("get svc --request-timeout=5x").failed().contains("write one like 30s or 1m30s"));
}
