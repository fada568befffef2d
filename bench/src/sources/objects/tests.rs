#![allow(clippy::unwrap_used)] // a test ends by panicking

use std::time::Duration;

use super::*;

#[test]
fn a_stamp_is_what_kubernetes_reads() {
    let at = |seconds, nanos| stamp(UNIX_EPOCH + Duration::new(seconds, nanos)).unwrap();
    assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
    assert_eq!(at(951_827_696, 12_345_678), "2000-02-29T12:34:56.012345678Z");
}

#[test]
fn what_the_server_gives_is_left_out() {
    let shape = Shape { services: 20, server: Ipv4Addr::new(10, 1, 0, 2) };
    let [first, second] = service(7, &shape.endpoints(7)).unwrap();
    assert_eq!(first.path(), "namespaces/shop-7/services/web-7");
    assert_eq!(second.key(), "objects/endpointslices/shop-7/web-7-x7k2p");
    for object in [&first, &second] {
        assert!(object.value["metadata"].get("uid").is_none());
    }
    assert!(first.value.get("status").is_none());
    assert_eq!(second.value["endpoints"].as_array().unwrap().len(), ENDPOINTS);
    assert_eq!(shape.endpoints(10), [IpAddr::from(shape.server)]);
    let changed = second.triggered().unwrap();
    assert!(changed.value["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"].is_string());
}
