//! Upstreams by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::plugins::forward::tests::{Served, build, free};
use crate::upstream::tests::{Fake, Seen, bytes, good, question, reply};
use crate::wire::{Data, Record};

/// Knows `dns.test` as 127.0.0.1, by an alias, and says over UDP that there is more; all else is answered by 192.0.2.1.
fn resolver() -> Fake {
    Fake::start(|seen: &Seen| {
        let asked = &seen.message.questions[0];
        if asked.name != Name::parse("dns.test").unwrap() {
            return good(seen, 1);
        }
        let mut message = reply(&seen.message);
        if seen.by == By::Udp {
            message.flags.set_tc(true);
        } else if asked.rtype == Type::A {
            let real = Name::parse("real.test").unwrap();
            message.answers.push(Record::new(asked.name.clone(), Type::CNAME, 60, Data::name(&real)));
            message.answers.push(Record::new(real, Type::A, 60, Data::a([127, 0, 0, 1].into())));
        }
        vec![bytes(&message)]
    })
}

#[test]
fn a_host_is_looked_up_by_the_first_resolver_that_answers() {
    let fake = resolver();
    let (dead, port) = (free(), fake.address.port());
    assert_eq!(host("dns.test", &[dead, fake.address]), Ok(vec![IpAddr::from([127, 0, 0, 1])]));
    let text = format!(". {{\n forward . dns.test:{port} {{\n  resolver {dead} {}\n }}\n}}\n", fake.address);
    let answer = Served::start(&text).ask(&question("www.example.org.", Type::A));
    assert_eq!(answer.answers[0].data.to_ip(Type::A), Some(IpAddr::from([192, 0, 2, 1])));
}

#[test]
fn a_host_that_is_not_there_is_told_at_its_line() {
    let fake = Fake::start(|seen| {
        let mut message = reply(&seen.message);
        message.set_rcode(Rcode::NXDOMAIN);
        vec![bytes(&message)]
    });
    let told = |options: &str| {
        let text = format!(". {{\n forward . dns.test {{\n  {options}\n }}\n}}\n");
        build(&text).err().unwrap().to_string()
    };
    let problem = told(&format!("resolver {}", fake.address));
    let reason = format!("dns.test can't be looked up: {}: it answers NXDOMAIN", fake.address);
    assert!(problem.starts_with("Corefile:2: forward: ") && problem.contains(&reason), "{problem}");
    assert!(told("").contains("dns.test is the name of a host; say by `resolver ADDRESS`"));
    let problem = told("resolver dns.example");
    assert!(problem.starts_with("Corefile:3: resolver: \"dns.example\" is no address"), "{problem}");
    let empty = Fake::start(|seen| vec![bytes(&reply(&seen.message))]);
    assert!(told(&format!("resolver {}", empty.address)).contains("dns.test has no address"));
}
