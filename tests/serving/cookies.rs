//! Cookies (RFC 7873), as dig and kdig see them.

use std::process::Command;

use bowline_dns::wire::Type;
use bowline_lab::Lab;
use bowline_lab::kubernetes::Place;
use rustix::process::Signal;

use crate::server::Dns;

const COREFILE: &str = ". {
    hosts {
        192.0.2.1 one.test
        fallthrough
    }
    template ANY ANY fails.test {
        rcode SERVFAIL
    }
}
";

/// What a client says of its question.
fn asked(program: &str, words: &[&str], port: u16) -> String {
    let mut command = Command::new(program);
    let out = command.args(["@127.0.0.1", "-p", &port.to_string()]).args(words).output().unwrap();
    assert!(out.status.success(), "{program} {words:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// The cookie in dig's words, which says "good" where the client's own part is in it.
fn cookie(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("; COOKIE: ")?.strip_suffix(" (good)"))
}

#[test]
fn clients_see_a_cookie_that_is_good() {
    let lab = Lab::new("dns-cookies").unwrap();
    let place = Place::machine(&lab).unwrap();
    let mut dns = Dns::start(&place, "cookies", COREFILE, &["--threads", "2"]);
    dns.ask("one.test", Type::A);
    let first = asked("dig", &["+cookie=2464c4abcf10c957", "one.test"], dns.port);
    let first = cookie(&first).unwrap_or_else(|| panic!("{first}")).to_owned();
    assert!(first.len() == 48 && first.starts_with("2464c4abcf10c95701000000"), "{first}");
    let with_it = format!("+cookie={first}");
    // The same for a while, by each thread and transport, whatever the answer is, and after a reload.
    dns.write(&COREFILE.replace("192.0.2.1", "192.0.2.2"));
    dns.server.signal(Signal::USR1).unwrap();
    dns.wait("it serves the new file", |dns| {
        dns.ask("one.test", Type::A).answers.first().is_some_and(|record| record.data.as_bytes() == [192, 0, 2, 2])
    });
    for words in ["one.test", "one.test +tcp", "fails.test", "none.test", "one.test CH TXT", "one.test +nsid"] {
        let words: Vec<&str> = words.split(' ').chain([with_it.as_str()]).collect();
        let said = asked("dig", &words, dns.port);
        assert_eq!(cookie(&said), Some(&*first), "{words:?}: {said}");
    }
    // One that another server gave, by which a client knew this address before.
    let said = asked("dig", &["+cookie=2464c4abcf10c957010000005cf79f111f8130c3eee29480", "one.test"], dns.port);
    let other = cookie(&said).unwrap_or_else(|| panic!("{said}"));
    assert!(other.len() == 48 && other.starts_with("2464c4abcf10c95701000000"), "{said}");
    let said = asked("kdig", &["+cookie=2464c4abcf10c957", "one.test"], dns.port);
    assert!(said.contains("; COOKIE: 2464C4ABCF10C957") && said.contains("192.0.2.2"), "{said}");
    // One that is cut.
    let said = asked("dig", &["+ednsopt=10:2464c4", "+nocookie", "one.test"], dns.port);
    assert!(said.contains("status: FORMERR"), "{said}");
    let said = asked("dig", &["+nocookie", "one.test"], dns.port);
    assert!(said.contains("status: NOERROR") && !said.contains("COOKIE"), "{said}");
}
