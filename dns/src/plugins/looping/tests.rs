//! Servers that forward to themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::feed::Feed;
use crate::plugins::asker::{question, refusal};
use crate::plugins::forward::tests::{Served, free, services, until};
use crate::upstream::tests::{Fake, good};
use crate::wire::Rcode;

/// A server at a port of its own that forwards all to itself, but for one zone.
fn looping(services: Arc<Services>, good: SocketAddr) -> Served {
    let port = free().port();
    Served::start_at(
        &format!(
            ". {{\n bind 127.0.0.1\n cache\n loop\n forward . 127.0.0.1:{port}\n}}\n\
             example.org {{\n bind 127.0.0.1\n loop\n forward . {good}\n}}\n"
        ),
        services,
        port,
    )
}

#[test]
fn in_the_agent_the_looping_block_is_disabled_and_all_else_goes_on() {
    let fake = Fake::start(|seen| good(seen, 1));
    let served = looping(services(), fake.address);
    until("it is found", || served.page().contains("bowline_dns_loops_total 1\n"));
    assert_eq!(served.rcode("example.com."), Rcode::SERVFAIL);
    assert_eq!(served.rcode("www.example.org."), Rcode::NOERROR);
    assert!(served.page().contains("bowline_dns_forward_looping_total 1\n"));
    assert!(served.services.ended().borrow().is_none());
}

#[test]
fn alone_the_server_is_to_end_and_says_why() {
    let fake = Fake::start(|seen| good(seen, 1));
    let alone = Arc::new(Services::new(Arc::new(Feed::default()), Vec::new(), "test"));
    let served = looping(alone, fake.address);
    let ended = served.services.ended();
    until("it is told", || ended.borrow().is_some());
    let reason = ended.borrow().clone().unwrap();
    assert!(reason.contains("leads back to this server") && reason.contains("HINFO"), "{reason}");
}

#[test]
fn without_a_loop_nothing_happens() {
    let fake = Fake::start(|seen| good(seen, 1));
    let served = Served::start(&format!(". {{\n loop\n forward . {}\n}}\n", fake.address));
    until("the probe came by", || fake.asked() >= 1);
    assert_eq!(served.ask(&question("example.org.", "A")).rcode(), Rcode::NOERROR);
    assert!(served.page().contains("bowline_dns_loops_total 0\n"));
}

#[test]
fn it_takes_no_arguments() {
    assert!(refusal(". {\n loop x\n forward . 127.0.0.1\n}\n").contains("takes no argument"));
    assert!(refusal(". {\n loop\n loop\n forward . 127.0.0.1\n}\n").contains("once"));
}
