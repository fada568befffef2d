//! What is given, against the rules.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn key(n: u32) -> Key {
    Key { container: format!("c{n}"), ifname: "eth0".into() }
}

fn pool(networks: &[&str]) -> Pool {
    let mut pool = Pool::default();
    pool.set_networks(&networks.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>());
    pool
}

fn text(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn give(pool: &mut Pool, n: u32, now: Instant) -> String {
    text(&pool.give(&key(n), &Wanted::default(), now).unwrap())
}

#[test]
fn one_of_each_family_in_turn_and_what_was_given_back_comes_last() {
    let now = Instant::now();
    let mut pool = pool(&["10.1.0.0/29", "fd00::/64"]);
    assert_eq!(give(&mut pool, 0, now), "10.1.0.2 fd00::2");
    assert_eq!(give(&mut pool, 1, now), "10.1.0.3 fd00::3");
    pool.release(&key(0), &["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()], now);
    for (n, expected) in [(2, "10.1.0.4 fd00::4"), (3, "10.1.0.5 fd00::5"), (4, "10.1.0.6 fd00::6")] {
        assert_eq!(give(&mut pool, n, now), expected);
    }
    // Only what rests is left of the small one.
    assert_eq!(give(&mut pool, 5, now), "10.1.0.2 fd00::7");
    let full = pool.give(&key(6), &Wanted::default(), now).unwrap_err();
    assert_eq!(full, AddressError::Full { network: "10.1.0.0/29".into(), held: 5 });
    assert_eq!(pool.held(), 10, "nothing is given where one family is full");
}

#[test]
fn what_rests_is_given_before_its_time_only_where_there_is_no_other() {
    let now = Instant::now();
    let mut pool = pool(&["10.1.0.0/29"]);
    for n in 0..5 {
        give(&mut pool, n, now);
    }
    for (n, address) in [(3, "10.1.0.5"), (1, "10.1.0.3")] {
        pool.release(&key(n), &[address.parse().unwrap()], now);
    }
    // The one that rests longest.
    assert_eq!(give(&mut pool, 7, now), "10.1.0.5");
    // What another gives back is not its own.
    pool.release(&key(9), &["10.1.0.5".parse().unwrap()], now);
    assert_eq!(pool.holder("10.1.0.5".parse().unwrap()), Some(&key(7)));
    assert_eq!(give(&mut pool, 8, now + REST), "10.1.0.3");
}

#[test]
fn several_networks_of_a_family_one_after_another() {
    let now = Instant::now();
    let mut pool = pool(&["10.1.0.0/30", "10.2.0.0/30", "10.3.0.9/32"]);
    let given: Vec<String> = (0..3).map(|n| give(&mut pool, n, now)).collect();
    assert_eq!(given, ["10.1.0.2", "10.2.0.2", "10.3.0.9"]);
    assert!(pool.give(&key(3), &Wanted::default(), now).is_err());
    assert_eq!(Pool::default().give(&key(0), &Wanted::default(), now), Err(AddressError::NoNetwork));
}

#[test]
fn what_is_asked_for_is_given_or_refused() {
    let now = Instant::now();
    let mut pool = pool(&["10.1.0.0/24", "fd00::/64"]);
    let wanted = |addresses: &[&str], ranges: &[(&str, &str)]| Wanted {
        addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
        ranges: ranges
            .iter()
            .map(|(first, last)| Range { first: first.parse().unwrap(), last: last.parse().unwrap() })
            .collect(),
    };
    let mut ask = |n: u32, wanted: &Wanted| pool.give(&key(n), wanted, now).map(|given| text(&given));
    assert_eq!(ask(0, &wanted(&["10.1.0.77"], &[])).unwrap(), "10.1.0.77 fd00::2");
    let held = ask(1, &wanted(&["10.1.0.77"], &[])).unwrap_err();
    assert_eq!(held, AddressError::Held { address: "10.1.0.77".parse().unwrap(), by: key(0) });
    assert!(matches!(ask(1, &wanted(&["10.9.0.1"], &[])), Err(AddressError::Outside(..))));
    let range = wanted(&[], &[("10.1.0.76", "10.1.0.78")]);
    assert_eq!(ask(2, &range).unwrap(), "10.1.0.78 fd00::3");
    assert_eq!(ask(3, &range).unwrap(), "10.1.0.76 fd00::4");
    assert!(matches!(ask(4, &range), Err(AddressError::Full { .. })));
    assert!(matches!(ask(4, &wanted(&[], &[("10.9.0.1", "10.9.0.9")])), Err(AddressError::Outside(..))));
}

#[test]
fn what_pods_of_another_network_have_is_not_given() {
    let now = Instant::now();
    let mut pool = pool(&["10.1.0.0/29"]);
    let others: HashSet<IpAddr> = ["10.1.0.2", "10.1.0.4"].iter().map(|one| one.parse().unwrap()).collect();
    pool.set_others(others.clone());
    assert_eq!([give(&mut pool, 0, now), give(&mut pool, 1, now)], ["10.1.0.3", "10.1.0.5"]);
    let wanted = Wanted { addresses: vec!["10.1.0.4".parse().unwrap()], ranges: Vec::new() };
    assert_eq!(pool.give(&key(2), &wanted, now), Err(AddressError::Others("10.1.0.4".parse().unwrap())));
    give(&mut pool, 3, now);
    assert!(matches!(pool.give(&key(4), &Wanted::default(), now), Err(AddressError::Full { .. })));
    pool.set_others(HashSet::new());
    assert_eq!(give(&mut pool, 4, now), "10.1.0.2");
}

/// Nothing is doubled, lost or given outside, whatever is asked and given back.
#[test]
fn a_long_row_of_gives_and_releases_against_a_set() {
    let mut now = Instant::now();
    let mut pool = pool(&["10.1.0.0/26", "fd00::/120"]);
    let mut model: HashMap<u32, Vec<IpAddr>> = HashMap::new();
    let mut chance = 12_345_u64;
    for turn in 0..20_000 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (chance >> 33) as u32 % 80;
        now += Duration::from_millis((chance >> 40) % 2000);
        if let Some(addresses) = model.remove(&n) {
            pool.release(&key(n), &addresses, now);
        } else {
            match pool.give(&key(n), &Wanted::default(), now) {
                Ok(addresses) => {
                    assert_eq!(addresses.len(), 2);
                    assert!(model.values().flatten().all(|held| !addresses.contains(held)), "turn {turn}");
                    assert!(addresses.iter().all(|one| pool.networks.iter().any(|network| network.contains(one))));
                    model.insert(n, addresses);
                }
                Err(error) => assert!(model.len() == 61, "{error} with {} held", model.len()),
            }
        }
        assert_eq!(pool.held(), model.len() * 2);
    }
}

#[test]
fn what_was_held_before_a_start_is_held_after_it() {
    let now = Instant::now();
    let mut pool = pool(&["10.1.0.0/24"]);
    assert!(pool.hold(&key(1), &["10.1.0.9".parse().unwrap()]));
    assert!(pool.hold(&key(1), &["10.1.0.9".parse().unwrap()]));
    assert!(!pool.hold(&key(2), &["10.1.0.9".parse().unwrap()]));
    // Of a network that the node had before.
    assert!(pool.hold(&key(3), &["10.7.0.9".parse().unwrap()]));
    assert_eq!(give(&mut pool, 4, now), "10.1.0.10");
}
