#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

fn names(documents: &Documents) -> Vec<String> {
    let one = |document: &Document| {
        format!("{} {}", document.value["kind"].as_str().unwrap(), name(&document.value).unwrap())
    };
    documents.documents.iter().map(one).collect()
}

#[test]
fn objects_come_out_as_they_are_written() {
    let text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata:\n  n: \"1\"\n---\nkind: Widget\napiVersion: example.com/v1\nmetadata:\n  name: w\nspec: {ratio: 0.5, big: 18446744073709551615, on: true, none: null}\n";
    let read = documents("x.yaml", text.as_bytes());
    assert_eq!(read.problems, []);
    assert_eq!(names(&read), ["ConfigMap a", "Widget w"]);
    assert_eq!(
        read.documents[1].value["spec"],
        json!({"ratio": 0.5, "big": 18446744073709551615_u64, "on": true, "none": null})
    );
    assert_eq!(&*read.documents[1].origin, "x.yaml:6");
}

#[test]
fn json_and_yaml_mean_the_same() {
    let value = json!({"kind": "ServiceList", "apiVersion": "v1", "items": [
        {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}},
        {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80, "targetPort": "http"}]}},
    ]});
    let from_json = documents("-", value.to_string().as_bytes());
    let yaml = "kind: ServiceList\napiVersion: v1\nitems:\n- metadata:\n    name: a\n  spec:\n    ports:\n    - port: 80\n- metadata:\n    name: b\n  spec:\n    ports:\n    - {port: 80, targetPort: http}\n";
    let from_yaml = documents("-", yaml.as_bytes());
    assert_eq!(names(&from_json), ["Service a", "Service b"]);
    let values = |documents: &Documents| documents.documents.iter().map(|d| d.value.clone()).collect::<Vec<_>>();
    assert_eq!(values(&from_json), values(&from_yaml));
    assert_eq!(from_json.documents[0].value["apiVersion"], "v1");
    // YAML that begins like JSON.
    let flow = documents("-", b"{kind: Namespace, apiVersion: v1, metadata: {name: x}}\n");
    assert_eq!((names(&flow), flow.problems.len()), (vec!["Namespace x".to_string()], 0));
    assert_eq!(documents("a.json", b"{kind: Namespace}").documents, []);
}

#[test]
fn what_the_reader_refuses_does_not_come_out_and_the_others_do() {
    let service = |name: &str, port: &str| {
        format!("kind: Service\napiVersion: v1\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n")
    };
    let text = [service("a", "80"), service("b", "0"), "kind: [\n".into(), service("c", "80")].join("---\n");
    let read = documents("x.yaml", text.as_bytes());
    assert_eq!(names(&read), ["Service a", "Service c"]);
    let lines: Vec<&str> = read.problems.iter().map(|problem| &*problem.origin).collect();
    assert_eq!(lines, ["x.yaml:9", "x.yaml:11"]);
    // Also where it can't be told whose it is.
    for metadata in ["{name: s, namespace: [a]}", "{name: S_1}", "hello"] {
        let read = documents("-", format!("{{kind: Service, apiVersion: v1, metadata: {metadata}}}").as_bytes());
        assert_eq!((names(&read), read.problems.len()), (vec![], 1), "{metadata}");
    }
    // In one piece too.
    let list = "{kind: List, apiVersion: v1, items: [{kind: Namespace, apiVersion: v1, metadata: {name: ok}}, {kind: Namespace, apiVersion: v1, metadata: {name: x_}}, {kind: Service, apiVersion: v1, metadata: {name: s}}]}";
    let read = documents("-", list.as_bytes());
    assert_eq!((names(&read), read.problems.len()), (vec!["Namespace ok".to_string()], 2));
}

#[test]
fn a_name_is_needed_whatever_the_kind() {
    let read = documents("-", b"kind: ConfigMap\napiVersion: v1\nmetadata: {generateName: a-}\n");
    assert_eq!(read.documents, []);
    assert!(read.problems[0].to_string().contains("ConfigMap: has no name"), "{}", read.problems[0]);
    assert_eq!(documents("-", b""), Documents::default());
    assert_eq!(documents("-", b"---\n# nothing\n---\n"), Documents::default());
}
