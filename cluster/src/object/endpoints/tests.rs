//! What comes out of the packed endpoints is what went in.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use proptest::prelude::*;

use super::*;

/// An endpoint with names of its own.
type Owned = (IpAddr, (bool, bool, bool), [Option<String>; 2], [Option<String>; 2]);

fn owned() -> impl Strategy<Value = Owned> {
    let name = || proptest::option::of("[a-zé-]{1,40}");
    let shared = || proptest::option::of("[a-c]{0,2}");
    (any::<IpAddr>(), any::<(bool, bool, bool)>(), [name(), name()], [shared(), shared()])
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(list in proptest::collection::vec(owned(), 0..20)) {
        let shared: Vec<[Option<Str>; 2]> =
            list.iter().map(|(.., shared)| shared.clone().map(|text| text.map(Str::from))).collect();
        let wanted: Vec<Endpoint<'_>> = list
            .iter()
            .zip(&shared)
            .map(|((address, (ready, serving, terminating), [hostname, pod], _), [node, zone])| Endpoint {
                address: *address,
                conditions: Conditions { ready: *ready, serving: *serving, terminating: *terminating },
                hostname: hostname.as_deref(),
                node: node.as_ref(),
                zone: zone.as_ref(),
                pod: pod.as_deref(),
            })
            .collect();
        let endpoints: Endpoints = wanted.iter().copied().collect();
        prop_assert_eq!((endpoints.len(), endpoints.is_empty()), (wanted.len(), wanted.is_empty()));
        prop_assert_eq!(endpoints.iter().len(), wanted.len());
        prop_assert_eq!(&endpoints.iter().collect::<Vec<_>>(), &wanted);
        prop_assert_eq!(endpoints.iter().collect::<Endpoints>(), endpoints);
    }
}

#[test]
fn a_name_that_no_object_can_have_is_left_out() {
    let at = Endpoint::at("10.0.0.1".parse().unwrap(), Conditions::default());
    let (longest, longer) = ("a".repeat(255), "a".repeat(256));
    let endpoints: Endpoints = [
        Endpoint { hostname: Some(&longer), pod: Some(&longest), ..at },
        Endpoint { hostname: Some("web"), pod: Some(&longer), ..at },
    ]
    .into_iter()
    .collect();
    let names: Vec<_> = endpoints.iter().map(|endpoint| (endpoint.hostname, endpoint.pod)).collect();
    assert_eq!(names, [(None, Some(&*longest)), (Some("web"), None)]);
}
