//! One object: created, changed, merged, compared, deleted.

use bowline_lab::Lab;
use bowline_lab::kubernetes::{Etcd, EtcdOptions, Place};
use bowline_sources::store::apply::{DryRun, Outcome};
use bowline_sources::store::{LAST_APPLIED, Resource};
use serde_json::json;

use crate::ground::{Ground, object, run, service, text};

#[test]
fn created_configured_unchanged_deleted() {
    let ground = Ground::new();
    let first = ground.apply(&service("web", "selector: {app: web}"));
    assert_eq!((first.outcome, &first.before), (Outcome::Created, &None));
    let metadata = &first.object["metadata"];
    assert_eq!((text(&metadata["namespace"]), &metadata["generation"]), ("default", &json!(1)));
    assert_eq!(text(&metadata["uid"]).len(), 36);
    assert!(text(&metadata["creationTimestamp"]).ends_with('Z'));

    let again = ground.apply(&service("web", "selector: {app: web}"));
    assert_eq!((again.outcome, &again.object), (Outcome::Unchanged, &first.object));

    let labels = "{apiVersion: v1, kind: Service, metadata: {name: web, labels: {a: b}}, spec: {ports: [{port: 80}], selector: {app: web}}}";
    let labelled = ground.apply(labels);
    assert_eq!((labelled.outcome, &labelled.object["metadata"]["generation"]), (Outcome::Configured, &json!(1)));
    let changed = ground.apply(&service("web", "selector: {app: other}"));
    assert_eq!(changed.object["metadata"]["generation"], json!(2));
    assert_eq!(changed.object["metadata"].get("labels"), None, "a field that has left the manifest");
    for kept in ["uid", "creationTimestamp"] {
        assert_eq!(changed.object["metadata"][kept], first.object["metadata"][kept], "{kept}");
    }
    assert_eq!(changed.object["spec"]["clusterIP"], first.object["spec"]["clusterIP"]);
    assert_eq!(ground.get("svc", "web"), changed.object);
    // The version is etcd's and is never stored.
    let raw = ground.raw("objects/services/default/");
    assert!(!raw["web"].contains("resourceVersion"), "{raw:?}");

    assert_eq!(ground.delete("service", "web").unwrap()["metadata"]["uid"], first.object["metadata"]["uid"]);
    assert_eq!(ground.delete("service", "web").unwrap_err().to_string(), "services \"web\" not found");
    assert!(ground.raw("objects/").is_empty() && ground.claims().is_empty(), "{:?}", ground.claims());
}

#[test]
fn a_writer_that_would_overwrite_a_newer_version_is_told_both() {
    let ground = Ground::new();
    let first = ground.apply(&service("web", ""));
    let read = first.object.clone();
    let version = text(&read["metadata"]["resourceVersion"]).to_string();
    let newer = ground.apply(&service("web", "sessionAffinity: ClientIP"));
    let stored = text(&newer.object["metadata"]["resourceVersion"]);
    let said = ground.refused(&read.to_string());
    assert!(said.contains("was changed since you read it"), "{said}");
    assert!(said.contains(&format!("version {version}, stored is {stored}")), "{said}");
    // What was read last may be written.
    let mut mine = newer.object.clone();
    mine["metadata"]["labels"] = json!({"mine": "1"});
    assert_eq!(ground.apply(&mine.to_string()).outcome, Outcome::Configured);
    // After a delete, it is another object.
    ground.delete("service", "web").unwrap();
    assert_eq!(ground.apply(&read.to_string()).outcome, Outcome::Created);
    let mut other = read.clone();
    other["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert!(ground.refused(&other.to_string()).contains("is another object of the same name now"));
}

#[test]
fn fields_of_others_stay_and_a_status_is_not_wiped() {
    let ground = Ground::new();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: x}}, spec: {containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.1.0.2}]}}";
    let first = ground.apply(pod);
    assert!(text(&first.object["metadata"]["annotations"][LAST_APPLIED]).contains("podIPs"));
    // Another writer, who has read the whole of it.
    let mut other = first.object.clone();
    other["metadata"]["labels"]["theirs"] = "1".into();
    other["metadata"]["annotations"].as_object_mut().unwrap().remove(LAST_APPLIED);
    other["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    ground.put_raw("objects/pods/default/a", &{
        let mut raw = other.clone();
        raw["metadata"]["annotations"] = first.object["metadata"]["annotations"].clone();
        raw.to_string()
    });
    let without =
        "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: z}}, spec: {containers: [{name: c, image: i}]}}";
    let second = ground.apply(without);
    assert_eq!(second.object["status"], first.object["status"]);
    assert_eq!(second.object["metadata"]["labels"], json!({"app": "z", "theirs": "1"}));
}

#[test]
fn what_an_api_server_would_refuse_is_not_stored() {
    let ground = Ground::new();
    for (yaml, said) in [
        (service("web", "sesionAffinity: ClientIP"), "spec.sesionAffinity: is no field"),
        (
            service("web", "ports: [{port: 80, nodePort: 30080}]"),
            "spec.ports[].nodePort: only a Service of type NodePort",
        ),
        (
            service("web", "type: ExternalName, externalName: a.example, clusterIP: 10.96.0.9"),
            "spec.clusterIPs: a Service of type ExternalName",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {x: a b}}, spec: {containers: []}}".into(),
            "metadata.labels[x]",
        ),
        (
            "{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.9.0.1/24]}}".into(),
            "write 10.9.0.0/24",
        ),
    ] {
        let refused = ground.refused(&yaml);
        assert!(refused.contains(said), "{said}: {refused}");
    }
    assert!(ground.raw("objects/").is_empty() && ground.raw("claims/").is_empty());
}

#[test]
fn a_dry_run_stores_nothing() {
    let ground = Ground::new();
    let dry = |kind| {
        let manifest = object(&service("web", "type: NodePort"));
        run(ground.store().apply(&manifest, kind, &ground.settings)).unwrap().object
    };
    let server = dry(DryRun::Server);
    assert!(server["spec"]["clusterIP"].is_string() && server["spec"]["ports"][0]["nodePort"].is_number());
    assert_eq!(dry(DryRun::Client)["spec"].get("clusterIP"), None);
    assert_eq!(ground.raw(""), Default::default());
    ground.apply(&service("web", "type: NodePort"));
    let resource = bowline_sources::store::Resource::parse("svc").unwrap();
    run(ground.store().delete(&resource, "default", "web", &Default::default(), DryRun::Server)).unwrap();
    assert_eq!(ground.raw("objects/").len(), 1);
    // What another holds is found all the same.
    let held = text(&ground.get("svc", "web")["spec"]["clusterIP"]).to_owned();
    let other = object(&service("other", &format!("clusterIP: {held}")));
    let said = run(ground.store().apply(&other, DryRun::Server, &ground.settings)).unwrap_err().to_string();
    assert!(said.contains("belongs to Service default/web"), "{said}");
}

#[test]
fn any_kind_may_be_stored_and_stands_where_it_belongs() {
    let ground = Ground::new();
    ground.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: shop}, data: {a: \"1\"}}");
    ground.apply("{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: k}, spec: {anything: [1.5]}}");
    ground.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    let keys: Vec<String> = ground.raw("objects/").into_keys().collect();
    assert_eq!(keys, ["configmaps/shop/m", "namespaces/shop", "services.serving.knative.dev/default/k"]);
    assert!(ground.claims().is_empty());
    // YAML that somebody has put by hand is read all the same.
    ground.put_raw("objects/namespaces/hand", "kind: Namespace\napiVersion: v1\nmetadata:\n  name: hand\n");
    ground.put_raw("objects/namespaces/wrong", "kind: Namespace\napiVersion: v1\nmetadata: {name: other}\n");
    let listed = run(ground.store().list(&bowline_sources::store::Resource::parse("ns").unwrap(), None)).unwrap();
    let names: Vec<&str> = listed.objects.iter().map(|object| text(&object["metadata"]["name"])).collect();
    assert_eq!((names, listed.problems.len()), (vec!["hand", "shop"], 1));
    assert!(listed.problems[0].message.contains("/objects/namespaces/other"), "{}", listed.problems[0]);
}

#[test]
fn many_merges_of_one_object_lose_none() {
    let ground = Ground::new();
    ground.apply(&service("web", ""));
    std::thread::scope(|scope| {
        for n in 0..10 {
            let ground = &ground;
            // Labels of writers that know nothing of each other: each manifest has one of its own.
            scope.spawn(move || {
                ground.apply(&format!("{{apiVersion: v1, kind: Service, metadata: {{name: web, labels: {{w{n}: \"1\"}}}}, spec: {{ports: [{{port: 80}}]}}}}"));
            });
        }
    });
    // Each removes what the manifest before it had, as kubectl does; but nobody's write was lost unseen: the
    // object has been through ten revisions more.
    let object = ground.get("svc", "web");
    assert_eq!(object["metadata"]["labels"].as_object().unwrap().len(), 1);
    assert_eq!(ground.claims().len(), 1);
}

#[test]
fn large_objects_are_listed_whole() {
    let ground = Ground::new();
    let filler = "x".repeat(1 << 20);
    let names: Vec<String> = (0..9).map(|n| format!("large-{n}")).collect();
    for name in &names {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"text": filler}});
        ground.put_raw(&format!("objects/configmaps/default/{name}"), &map.to_string());
    }
    let configmaps = Resource::parse("configmaps").unwrap();
    let listed = run(ground.store().list(&configmaps, None)).unwrap();
    assert_eq!(listed.problems, []);
    let found: Vec<&str> = listed.objects.iter().map(|object| text(&object["metadata"]["name"])).collect();
    assert_eq!(found, names);
}

#[test]
fn many_large_objects_behind_small_ones_are_listed_though_no_message_holds_them() {
    // An etcd of its own: it is as large as others are in a year.
    let lab = Lab::new("large").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let ground = Ground::on(&etcd);
    let put = |name: &str, size: usize| {
        let text = "x".repeat(size);
        let value = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default"}},"data":{{"a":"{text}"}}}}"#
        );
        ground.put_raw(&format!("objects/configmaps/default/{name}"), &value);
    };
    (0..100).for_each(|n| put(&format!("a-{n:03}"), 1));
    (0..49).for_each(|n| put(&format!("b-{n:03}"), 1_450_000));
    let configmaps = Resource::parse("configmaps").unwrap();
    let listed = run(ground.store().list(&configmaps, None)).unwrap();
    assert_eq!((listed.objects.len(), listed.problems), (149, Vec::new()));
}
