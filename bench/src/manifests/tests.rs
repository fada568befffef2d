#![allow(clippy::unwrap_used)] // a test ends by panicking

use super::*;

#[test]
fn yaml_says_the_same_as_json() {
    for object in objects(1234, &endpoints(SHAPE.endpoints, 1234)) {
        let text = yaml::document(&object);
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, object, "{text}");
    }
}

#[test]
fn a_list_of_json_is_json() {
    for files in [Files::One, Files::Many] {
        let shape = Shape { format: Format::Json, files, ..SHAPE };
        let text = text(&shape, objects(1, &endpoints(shape.endpoints, 1)));
        let whole = if files == Files::One { format!("[{text}]") } else { text };
        serde_json::from_str::<Value>(&whole).unwrap();
    }
}

#[test]
fn no_two_endpoints_are_alike() {
    let mut all: Vec<IpAddr> = (0..10_000).flat_map(|service| endpoints(SHAPE.endpoints, service)).collect();
    assert_eq!(all.len(), 100_000);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 100_000);
}

const SHAPE: Shape = Shape { services: 10_000, endpoints: 10, format: Format::Yaml, files: Files::Many };
