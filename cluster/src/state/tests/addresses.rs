//! Which addresses Services have.

use super::*;
use crate::state::claims::{probes, usable};

/// What a name tries first.
fn pick(range: &ipnet::IpNet, name: &ObjectName) -> Option<IpAddr> {
    probes(range, name).next()
}

/// Must never change: nodes of two versions would give one Service two addresses.
#[test]
fn the_address_of_a_name_is_fixed() {
    let pick = |range: &str, text: &str| pick(&range.parse().unwrap(), &name(text)).unwrap().to_string();
    assert_eq!(pick("10.96.0.0/12", "default/frontend"), GOLDEN[0]);
    assert_eq!(pick("10.96.0.0/12", "default/redis-leader"), GOLDEN[1]);
    assert_eq!(pick("10.96.0.0/12", "kube-system/kube-dns"), GOLDEN[2]);
    assert_eq!(pick("10.43.0.0/16", "default/frontend"), GOLDEN[3]);
    assert_eq!(pick("fd00:10:96::/108", "default/frontend"), GOLDEN[4]);
    assert_eq!(pick("fd00:10:96::/64", "default/frontend"), GOLDEN[5]);
}

/// Worked out from the definition by another program.
const ORDER: [[&str; 2]; 4] = [
    ["10.98.252.108", "10.97.88.220"],
    ["10.0.0.208", "10.0.0.152"],
    ["fd00:10:96::d20a", "fd00:10:96::a1ae"],
    ["fd00:10:96:0:a73e:32a1:1073:8e02", "fd00:10:96:0:a73e:32a1:b7b1:c0a3"],
];

/// Worked out from the definition by another program.
const GOLDEN: [&str; 6] = [
    "10.100.159.252",
    "10.100.17.112",
    "10.102.197.249",
    "10.43.2.105",
    "fd00:10:96::4:9ffc",
    "fd00:10:96:0:a73e:32a0:6935:5b61",
];

#[test]
fn the_first_two_addresses_and_the_last_are_never_picked() {
    for range in ["10.0.0.0/29", "10.0.0.0/30", "fd00::/126", "fd00::/125"] {
        let range: ipnet::IpNet = range.parse().unwrap();
        let mut first_two = range.hosts().take(2).collect::<Vec<_>>();
        if range.network().is_ipv4() {
            first_two.pop();
        }
        for n in 0..500 {
            let ip = pick(&range, &name(&format!("service-{n}"))).unwrap();
            assert!(range.contains(&ip) && ip != range.network() && ip != range.broadcast(), "{ip} of {range}");
            assert!(!first_two.contains(&ip), "{ip} of {range}");
        }
    }
    for range in ["10.0.0.0/31", "10.0.0.1/32", "fd00::1/128"] {
        assert_eq!(pick(&range.parse().unwrap(), &name("a")), None);
    }
    assert!(pick(&"::/0".parse().unwrap(), &name("a")).is_some());
    assert!(pick(&"0.0.0.0/0".parse().unwrap(), &name("a")).is_some());
}

/// Two names with one address in 10.0.0.0/29.
fn twins() -> (String, String) {
    let range = "10.0.0.0/29".parse().unwrap();
    let first = pick(&range, &name("twin-0"));
    let other = (1..).map(|n| format!("twin-{n}")).find(|text| pick(&range, &name(text)) == first);
    ("twin-0".to_string(), other.unwrap())
}

#[test]
fn of_two_names_with_one_address_the_older_has_it_and_the_other_its_next_one() {
    let (a, b) = twins();
    let mut state = state(&["10.0.0.0/29"]);
    let mut older = service(&b);
    older.created = Some(1);
    state.apply(some([put(service(&a))]));
    let address = ips(&state, &a);
    let applied = state.apply(some([put(older)]));
    assert_eq!(applied.changed.services, names(&[&a, &b]), "both are told");
    let next = probes(&"10.0.0.0/29".parse().unwrap(), &name(&a)).nth(1).unwrap().to_string();
    assert_eq!((ips(&state, &a), ips(&state, &b)), (vec![next], address.clone()));
    assert_eq!(applied.reported, []);
    state.apply(some([delete(Kind::Service, &b)]));
    assert_eq!(ips(&state, &a), address);
}

#[test]
fn of_600_names_each_has_an_address_of_its_own() {
    for range in ["10.96.0.0/12", "10.96.0.0/20", "10.96.0.0/22", "fd00:10:96::/112", "fd00::/118"] {
        let mut state = state(&[range]);
        let all: Vec<_> = (1..=600).map(|n| put(service(&format!("svc-{n}")))).collect();
        let applied = state.apply(Update::All(all));
        assert_eq!(applied.reported, [], "{range}");
        let given: BTreeSet<_> = (1..=600).flat_map(|n| ips(&state, &format!("svc-{n}"))).collect();
        assert_eq!(given.len(), 600, "{range}");
    }
}

#[test]
fn a_name_tries_every_address_once() {
    for range in ["10.0.0.0/30", "10.0.0.0/29", "10.0.0.0/24", "10.0.0.0/20", "fd00::/126", "fd00::/117"] {
        let range: ipnet::IpNet = range.parse().unwrap();
        for n in 0..20 {
            let tried: Vec<_> = probes(&range, &name(&format!("service-{n}"))).collect();
            let once: BTreeSet<_> = tried.iter().collect();
            assert_eq!((tried.len() as u128, once.len()), (usable(&range), tried.len()), "{range}");
            assert!(tried.iter().all(|ip| range.contains(ip) && *ip != range.network()), "{range}");
        }
    }
    assert_eq!(probes(&"::/0".parse().unwrap(), &name("a")).take(9).collect::<BTreeSet<_>>().len(), 9);
}

/// Must never change, as the first of them.
#[test]
fn the_order_of_a_name_is_fixed() {
    let tried = |range: &str| {
        let tried = probes(&range.parse().unwrap(), &name("frontend")).skip(1).take(2);
        tried.map(|ip| ip.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(tried("10.96.0.0/12"), ORDER[0]);
    assert_eq!(tried("10.0.0.0/24"), ORDER[1]);
    assert_eq!(tried("fd00:10:96::/112"), ORDER[2]);
    assert_eq!(tried("fd00:10:96::/64"), ORDER[3]);
}

#[test]
fn only_a_full_range_has_nothing_left() {
    let mut state = state(&["10.0.0.0/29"]);
    for n in 1..=7 {
        let applied = state.apply(some([put(Service { created: Some(n), ..service(&format!("s-{n}")) })]));
        assert_eq!(applied.reported.len(), usize::from(n > 5), "{n}");
        assert!(applied.reported.iter().all(|problem| problem.message.starts_with("all 5 addresses of 10.0.0.0/29")));
    }
    let taken: Vec<_> = (1..=7).map(|n| ips(&state, &format!("s-{n}"))).collect();
    assert!(taken[..5].iter().all(|ips| ips.len() == 1) && taken[5..].iter().all(Vec::is_empty), "{taken:?}");
    // The oldest that waits gets what becomes free, and no other moves but to an address that it likes better.
    let applied = state.apply(some([delete(Kind::Service, "s-3")]));
    assert_eq!((ips(&state, "s-6").len(), ips(&state, "s-7").len(), applied.mended.len()), (1, 0, 1));
    // Who is older than all takes the place of the youngest.
    let applied = state.apply(some([put(Service { created: Some(0), ..service("s-0") })]));
    assert_eq!((ips(&state, "s-0").len(), ips(&state, "s-6").len(), applied.reported.len()), (1, 0, 1));
    // Two at once, and one that is written goes.
    state.apply(some([delete(Kind::Service, "s-0"), delete(Kind::Service, "s-1")]));
    assert_eq!((ips(&state, "s-6").len(), ips(&state, "s-7").len()), (1, 1));
    assert_eq!(state.problems(), []);
}

/// A newcomer with a time, as etcd and Kubernetes write it, moves nobody.
#[test]
fn a_newcomer_moves_nobody() {
    let mut state = state(&["10.0.0.0/24", "fd00::/120"]);
    let dual = |n: i64| Service {
        created: Some(n),
        family_policy: Some(FamilyPolicy::RequireDualStack),
        ..service(&format!("svc-{n}"))
    };
    for n in 1..=253 {
        let applied = state.apply(some([put(dual(n))]));
        assert_eq!(applied.changed.services, names(&[&format!("svc-{n}")]));
        assert_eq!((ips(&state, &format!("svc-{n}")).len(), applied.reported.len()), (2, 0), "{n}");
    }
}

/// What a change costs depends on how full the range is, not on how many there are.
#[test]
fn one_change_looks_at_few_services() {
    let mut state = state(&["10.0.0.0/17"]);
    state.apply(Update::All((0..16_000).map(|n| put(service(&format!("svc-{n}")))).collect()));
    // Half full: a search takes two looks on average.
    assert!(state.claims.len() < 3 * 16_000, "{}", state.claims.len());
    let mut moved = 0;
    for n in 0..200 {
        moved += state.apply(some([delete(Kind::Service, &format!("svc-{}", n * 80))])).changed.services.len() - 1;
        moved += state.apply(some([put(service(&format!("aaa-{n}")))])).changed.services.len() - 1;
    }
    assert!(moved < 2 * 400, "{moved}");
}

#[test]
fn an_address_that_is_written_is_not_given_to_another() {
    let mut state = state(&["10.0.0.0/29"]);
    let mut older = service("assigned");
    older.created = Some(1);
    state.apply(some([put(older)]));
    let mut written = service("written");
    written.cluster_ips = vec![ips(&state, "assigned")[0].parse().unwrap()];
    let applied = state.apply(some([put(written.clone())]));
    assert_eq!(applied.changed.services, names(&["assigned", "written"]));
    assert_eq!((ips(&state, "assigned").len(), ips(&state, "written").len()), (1, 1));
    assert_ne!(ips(&state, "assigned"), ips(&state, "written"));
    let first = ips(&state, "written");
    written.cluster_ips = vec!["10.0.0.1".parse().unwrap()];
    state.apply(some([put(written)]));
    assert_eq!(ips(&state, "assigned"), first);
}

#[test]
fn of_two_services_with_one_address_and_port_the_older_serves_it_and_the_other_its_other_ports() {
    let mut state = state(&["10.0.0.0/29"]);
    let ip: IpAddr = "10.9.9.9".parse().unwrap();
    let mut old = service("old");
    old.cluster_ips = vec![ip];
    old.created = Some(1);
    let mut new = service("new");
    new.cluster_ips = vec![ip];
    new.created = Some(2);
    new.ports = [port("http", 80, TargetPort::Number(80)), port("more", 81, TargetPort::Number(81))].into();
    let applied = state.apply(some([put(new)]));
    assert!(applied.reported.is_empty());
    let applied = state.apply(some([put(old)]));
    assert_eq!(applied.changed.services, names(&["old", "new"]));
    let told = applied.reported[0].to_string();
    assert!(told.contains("test.yaml: Service default/new: spec.ports[0].port: 10.9.9.9 port 80/TCP"), "{told}");
    let snapshot = state.snapshot();
    let owns = |service: &str, port| snapshot.owns(&name(service), ip, port, Protocol::Tcp);
    assert!(owns("old", 80) && !owns("new", 80) && owns("new", 81));
    let applied = state.apply(some([delete(Kind::Service, "old")]));
    assert_eq!(applied.changed.services, names(&["old", "new"]));
    assert!(state.snapshot().owns(&name("new"), ip, 80, Protocol::Tcp));
    assert!(state.snapshot().lost.is_empty());
}

fn completed(ranges: &[&str], change: impl FnOnce(&mut Service)) -> (Service, Vec<Problem>) {
    let mut state = state(ranges);
    let mut given = service("a");
    change(&mut given);
    state.apply(some([put(given)]));
    (Service::clone(&state.snapshot.services[&name("a")]), state.problems())
}

const V4: &str = "10.96.0.0/12";
const V6: &str = "fd00::/108";

#[test]
fn families_follow_the_rules_of_the_api_server() {
    use Family::{V4 as F4, V6 as F6};
    use FamilyPolicy::{PreferDualStack as Prefer, RequireDualStack as Require, SingleStack as Single};
    type Case<'a> = (&'a [&'a str], Option<FamilyPolicy>, &'a [Family], &'a [&'a str], &'a [Family], usize);
    let cases: [Case<'_>; 13] = [
        // ranges, policy, families and addresses as written -> families, number of addresses
        (&[V4], None, &[], &[], &[F4], 1),
        (&[V6, V4], None, &[], &[], &[F6], 1),
        (&[V4, V6], Some(Prefer), &[], &[], &[F4, F6], 2),
        (&[V4, V6], Some(Require), &[F6], &[], &[F6, F4], 2),
        (&[V4], Some(Prefer), &[], &[], &[F4], 1),
        (&[V4, V6], None, &[F6, F4], &[], &[F6, F4], 2),
        (&[V4, V6], Some(Single), &[F6], &[], &[F6], 1),
        (&[V4, V6], None, &[], &["fd00::99"], &[F6], 1),
        (&[V4, V6], Some(Prefer), &[], &["fd00::99"], &[F6, F4], 2),
        (&[V4, V6], None, &[], &["10.9.9.9", "fd00::99"], &[F4, F6], 2),
        (&[], None, &[], &["192.0.2.1"], &[F4], 1),
        // Refused: an address that is written stays, none is given.
        (&[V4], Some(Require), &[], &["10.9.9.9"], &[F4], 1),
        (&[V4], None, &[F6], &[], &[F6], 0),
    ];
    for (ranges, policy, families, written, want, count) in cases {
        let (service, problems) = completed(ranges, |service| {
            service.family_policy = policy;
            service.families = families.to_vec();
            service.cluster_ips = written.iter().map(|ip| ip.parse().unwrap()).collect();
        });
        let case = format!("{ranges:?} {policy:?} {families:?} {written:?}: {service:?} {problems:?}");
        assert_eq!((&service.families[..], service.cluster_ips.len()), (want, count), "{case}");
        assert!(service.cluster_ips.iter().map(Family::of).eq(want[..count].iter().copied()), "{case}");
        let refused = (policy == Some(Require) && ranges.len() < 2) || count == 0;
        assert_eq!(problems.len(), usize::from(refused), "{case}");
    }
}

#[test]
fn headless_and_external_services_get_no_address() {
    let (headless, problems) = completed(&[V4], |service| service.headless = true);
    assert_eq!((headless.families, headless.cluster_ips.len(), problems.len()), (vec![Family::V4], 0, 0));
    let (by_hand, _) = completed(&[V4], |service| {
        service.headless = true;
        service.selector = None;
    });
    assert_eq!(by_hand.families, [Family::V4, Family::V6], "its endpoints may be of either");
    let (external, problems) = completed(&[V4], |service| service.kind = ServiceType::ExternalName);
    assert_eq!((external.families.len(), external.cluster_ips.len(), problems.len()), (0, 0, 0));
}

#[test]
fn without_a_range_the_problem_says_what_to_do() {
    let (service, problems) = completed(&[], |_| ());
    assert!(service.cluster_ips.is_empty());
    assert!(problems[0].message.contains("--service-cluster-ip-range"), "{problems:?}");
}

#[test]
fn where_an_api_server_does_it_nothing_is_given() {
    let mut state = State::new(Options { service_cidrs: vec![V4.parse().unwrap()], complete: false });
    state.apply(some([put(service("a")), put(pod("p", "a", &["10.0.0.1"]))]));
    assert!(ips(&state, "a").is_empty() && state.problems().is_empty() && state.snapshot.slices.is_empty());
}

#[test]
fn a_service_is_kept_once_and_what_was_written_is_still_known() {
    let mut state = state(&["10.96.0.0/12", "fd00::/112"]);
    let mut written = service("a");
    written.cluster_ips = vec!["10.96.1.1".parse().unwrap()];
    written.family_policy = Some(FamilyPolicy::PreferDualStack);
    for _ in 0..2 {
        state.apply(some([put(written.clone())]));
        assert_eq!(ips(&state, "a").len(), 2);
        let given = &state.services[&name("a")];
        assert!(Arc::ptr_eq(&given.service, &state.snapshot.services[&name("a")]));
        assert_eq!(*given.written(), written);
    }
    assert_eq!(state.apply(some([put(written)])), Applied::default());
    state.apply(some([delete(Kind::Service, "a")]));
    assert!(state.claims.is_empty());
}
