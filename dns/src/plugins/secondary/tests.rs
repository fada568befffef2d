//! `secondary` beside a primary of our own: the copy, its changes, its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use bowline_lab::wait_for;

use crate::plugins::testing::{question, refused, services};
use crate::server::{Running, Settings};
use crate::wire::{Message, Rcode, Type};

fn zone(serial: u32, times: &str) -> String {
    format!("@ 60 SOA ns root {serial} {times} 60\n@ 60 NS ns\nns 60 A 10.0.0.1\nwww 60 A 10.0.0.{serial}\n")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(folder: &Path, port: u16, text: &str) -> Running {
    let conf = folder.join(format!("Corefile.{port}"));
    std::fs::write(&conf, text).unwrap();
    Running::start(Settings { conf, port, threads: 1, prepare: None, ahead: None }, services()).unwrap()
}

fn ask(port: u16, name: &str) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut bytes = Vec::new();
    question(name, Type::A).write(&mut bytes);
    socket.send_to(&bytes, ("127.0.0.1", port)).unwrap();
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).unwrap();
    Message::read(&answer[..length]).unwrap()
}

/// Waits until the secondary answers with the address that a serial's zone has.
fn wait_for_serial(port: u16, serial: u8) {
    let has =
        || ask(port, "www.example.org.").answers.first().is_some_and(|record| record.data.as_bytes()[3] == serial);
    wait_for(&format!("the zone of serial {serial}"), Duration::from_secs(60), has).unwrap();
}

#[test]
fn a_zone_is_copied_kept_up_to_date_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    let (first, second) = (free_port(), free_port());
    let copy =
        format!("example.org {{\nsecondary {{\ntransfer from 127.0.0.1:{first}\n}}\ntransfer {{\nto *\n}}\n}}\n");
    let secondary = start(folder.path(), second, &copy);
    // Nothing is NXDOMAIN before the zone is there.
    assert_eq!(ask(second, "www.example.org.").rcode(), Rcode::SERVFAIL);
    std::fs::write(&file, zone(1, "3600 1 3")).unwrap();
    let text = format!("example.org {{\nfile db {{\nreload 20ms\n}}\ntransfer {{\nto * 127.0.0.1:{second}\n}}\n}}\n");
    let primary = start(folder.path(), first, &text);
    wait_for_serial(second, 1);
    assert_eq!(ask(second, "nowhere.example.org.").rcode(), Rcode::NXDOMAIN);
    // NOTIFY, long before refresh.
    std::fs::write(&file, zone(2, "1 1 3")).unwrap();
    wait_for_serial(second, 2);
    // The primary is gone: the copy stands until it expires.
    primary.stop();
    assert_eq!(ask(second, "www.example.org.").rcode(), Rcode::NOERROR);
    let expired = || ask(second, "www.example.org.").rcode() == Rcode::SERVFAIL;
    wait_for("the zone expires", Duration::from_secs(60), expired).unwrap();
    // It comes back with the same zone.
    let primary = start(folder.path(), first, &text);
    wait_for_serial(second, 2);
    // A reload keeps what was copied.
    primary.stop();
    secondary.reload().unwrap();
    assert_eq!(ask(second, "www.example.org.").rcode(), Rcode::NOERROR);
    secondary.stop();
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("secondary", "has no primary; add `transfer from ADDRESS...`"),
        ("secondary {\ntransfer from\n}", "transfer: takes at least 2 arguments"),
        ("secondary {\ntransfer to 10.0.0.1\n}", "takes `from ADDRESS...`"),
        ("secondary {\ntransfer from *\n}", "\"*\" is no address"),
        ("secondary example.org {\ntransferr from 127.0.0.1\n}", "did you mean transfer?"),
        ("secondary {\ntransfer from 127.0.0.1\ncatalog a..b\n}", "the name has an empty label"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
}

#[test]
fn a_catalogs_zones_come_and_go_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let listing = |serial: u32, members: &str| {
        format!("@ 60 SOA ns root {serial} 3600 1 3600 60\n@ 60 NS invalid.\nversion 60 TXT \"2\"\n{members}")
    };
    let (first, second) = (free_port(), free_port());
    write("catalog", listing(1, "a.zones 60 PTR example.org.\nb.zones 60 PTR forbidden.example.\n"));
    write("org", zone(1, "3600 1 3600"));
    write("net", zone(2, "3600 1 3600"));
    let text = format!(
        ". {{\nfile catalog catalog.example {{\nreload 20ms\n}}\nfile org example.org forbidden.example\n\
         file net example.net\ntransfer catalog.example example.org example.net forbidden.example {{\n\
         to * 127.0.0.1:{second}\n}}\n}}\n"
    );
    let primary = start(folder.path(), first, &text);
    let copy = format!(
        ". {{\nsecondary catalog.example {{\ntransfer from 127.0.0.1:{first}\ncatalog example.org example.net\n}}\n}}\n"
    );
    let secondary = start(folder.path(), second, &copy);
    let answers = |name: &str, rcode: Rcode| {
        let told = || ask(second, name).rcode() == rcode;
        wait_for(&format!("{name} is {rcode}"), Duration::from_secs(60), told).unwrap();
    };
    answers("www.example.org.", Rcode::NOERROR);
    answers("www.forbidden.example.", Rcode::REFUSED);
    write("catalog", listing(2, "c.zones 60 PTR example.net.\n"));
    answers("www.example.net.", Rcode::NOERROR);
    answers("www.example.org.", Rcode::REFUSED);
    // What is no catalog leaves the last one.
    write("catalog", listing(3, "d.zones 60 PTR example.net.\ne.zones 60 PTR example.net.\n"));
    write("catalog", listing(4, "c.zones 60 PTR example.net.\nf.zones 60 PTR example.org.\n"));
    answers("www.example.org.", Rcode::NOERROR);
    answers("www.example.net.", Rcode::NOERROR);
    secondary.stop();
    primary.stop();
}
