//! What options do to the sockets and connections of upstreams, as the upstream sees it.

use std::net::IpAddr;

use super::*;

fn served(fake: &Fake, options: &str) -> Served {
    Served::start(&format!(". {{\n forward . {} {{\n{options}\n}}\n}}\n", fake.address))
}

fn ask(served: &Served) -> u8 {
    last_byte(&served.ask(&question("example.org.", Type::A)))
}

#[test]
fn questions_come_from_the_source_address() {
    let last = |ip: IpAddr| if let IpAddr::V4(ip) = ip { ip.octets()[3] } else { 0 };
    let fake = Fake::start(move |seen| good(seen, last(seen.from.ip())));
    for options in ["source_address 127.0.0.9", "source_address 127.0.0.9\nforce_tcp"] {
        assert_eq!(ask(&served(&fake, options)), 9, "{options}");
    }
}

#[test]
fn max_idle_conns_bounds_the_sockets() {
    for (options, count) in [("max_idle_conns 1", 1), ("max_idle_conns 3", 3), ("max_idle_conns 0", 8)] {
        let fake = Fake::start(|seen| good(seen, 1));
        let served = served(&fake, options);
        for _ in 0..40 {
            ask(&served);
        }
        assert_eq!(fake.ports(), count, "{options}");
    }
}

#[test]
fn connections_end_that_are_idle_or_old() {
    let fake = Fake::start(|seen| good(seen, 1));
    let idle = served(&fake, "force_tcp\nexpire 10ms");
    ask(&idle);
    until("another connection, each after 20 ms of silence", || {
        std::thread::sleep(Duration::from_millis(20));
        ask(&idle);
        fake.connections() > 2
    });
    // It is never silent for so long, but gets as old.
    let fake = Fake::start(|seen| good(seen, 1));
    let old = served(&fake, "force_tcp\nexpire 300ms\nmax_age 300ms\nmax_idle_conns 1");
    until("another connection", || ask(&old) == 1 && fake.connections() > 1);
}
