//! Whole servers with a cache, before real sockets or plugins that answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::plugins::asker::{Asker, question, refusal, shown, with_edns};
use crate::plugins::forward::tests::{Served, free, receive, services, until};
use crate::upstream::By;
use crate::upstream::tests::{Fake, Seen, bytes, good, reply as reply_to};
use crate::wire::text::record_from_text;
use crate::wire::{Edns, Record};

fn record(text: &str) -> Record {
    record_from_text(text, None).unwrap()
}

/// A server whose answers have these records, with their TTLs.
fn upstream(answers: &'static [&'static str], authorities: &'static [&'static str], rcode: Rcode) -> Fake {
    Fake::start(move |seen| {
        let mut message = reply_to(&seen.message);
        message.answers = answers.iter().map(|text| record(text)).collect();
        message.authorities = authorities.iter().map(|text| record(text)).collect();
        message.edns = seen.message.edns.as_ref().map(|edns| Edns::new(1232, edns.dnssec_ok));
        message.set_rcode(rcode);
        vec![bytes(&message)]
    })
}

fn served(fake: &Fake, cache: &str) -> Served {
    Served::start(&format!(". {{\n {cache}\n forward . {}\n}}\n", fake.address))
}

fn line(page: &str, start: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(start)?.split(' ').next_back()?.parse().ok());
    found.unwrap_or(-1.0)
}

#[test]
fn a_second_question_is_answered_from_what_is_kept_whatever_its_case() {
    let fake = upstream(
        &["www.example.org. 300 IN CNAME w.example.org.", "w.example.org. 60 IN A 192.0.2.1"],
        &[],
        Rcode::NOERROR,
    );
    let served = served(&fake, "cache");
    let first = served.ask(&question("www.example.org.", "A"));
    // All records get the least TTL, as in CoreDNS.
    assert_eq!(
        shown(&first.answers),
        ["www.example.org. 60 IN CNAME w.example.org.", "w.example.org. 60 IN A 192.0.2.1"]
    );
    assert!(!first.flags.aa() && first.flags.ra());
    let asked = with_edns("WWW.Example.ORG.", "A");
    let second = served.ask(&asked);
    assert_eq!(fake.asked(), 1);
    assert_eq!(second.answers.len(), 2);
    assert!(second.answers.iter().all(|record| record.ttl <= 60 && record.ttl > 40));
    assert!(second.flags.aa() && second.flags.ra() && second.edns.is_some());
    assert!(second.questions[0].name.eq_exact(&asked.questions[0].name));
    let page = served.page();
    let labels = "view=\"\",zones=\".\"} ";
    let server = format!("server=\"dns://{}\"", served.address);
    for (name, count) in [
        (format!("coredns_cache_requests_total{{{server},{labels}"), 2.0),
        (format!("coredns_cache_misses_total{{{server},{labels}"), 1.0),
        (format!("coredns_cache_hits_total{{{server},type=\"success\",{labels}"), 1.0),
        (format!("coredns_cache_entries{{{server},type=\"success\",{labels}"), 1.0),
        (format!("coredns_cache_entries{{{server},type=\"denial\",{labels}"), 0.0),
    ] {
        assert!((line(&page, name.trim_end()) - count).abs() < 0.1, "{name}: {page}");
    }
}

#[test]
fn do_and_cd_are_kept_apart_and_ad_is_for_those_who_ask() {
    let fake = Fake::start(|seen| {
        // It is asked with AD whether the client has it or not.
        assert!(seen.message.flags.ad());
        let mut message = Message::read(&good(seen, 1).remove(0)).unwrap();
        message.flags.set_ad(true);
        message.edns = seen.message.edns.as_ref().map(|edns| Edns::new(1232, edns.dnssec_ok));
        vec![bytes(&message)]
    });
    let served = served(&fake, "cache");
    let plain = question("example.org.", "A");
    let mut authentic = plain.clone();
    authentic.flags.set_ad(true);
    let mut checking_disabled = plain.clone();
    checking_disabled.flags.set_cd(true);
    let dnssec_ok = Message { edns: Some(Edns::new(1232, true)), ..plain.clone() };
    for _ in 0..2 {
        assert!(!served.ask(&plain).flags.ad());
        assert!(served.ask(&authentic).flags.ad());
        assert!(served.ask(&dnssec_ok).flags.ad());
        assert!(served.ask(&checking_disabled).flags.cd());
    }
    assert_eq!(fake.asked(), 3);
}

#[test]
fn denials_and_failures_live_as_long_as_they_may() {
    const SOA: &[&str] = &["example.org. 40 IN SOA ns.example.org. host.example.org. 1 2 3 4 5"];
    for (rcode, authorities, cache, asked, ttl) in [
        (Rcode::NXDOMAIN, SOA, "cache", 1, 40),
        (Rcode::NXDOMAIN, SOA, "cache 10", 1, 10),
        (Rcode::NXDOMAIN, SOA, "cache {\n denial 1000 3000 50\n }", 1, 50),
        (Rcode::NXDOMAIN, &[] as &[&str], "cache", 2, 0),
        (Rcode::NXDOMAIN, SOA, "cache {\n disable denial\n }", 2, 40),
        (Rcode::NXDOMAIN, SOA, "cache {\n disable denial example.com\n }", 1, 40),
        (Rcode::NXDOMAIN, SOA, "cache {\n disable success\n }", 1, 40),
        (Rcode::NOERROR, SOA, "cache", 1, 40),
        (Rcode::SERVFAIL, &[], "cache", 1, 0),
        (Rcode::SERVFAIL, &[], "cache {\n servfail 0\n }", 2, 0),
        (Rcode::REFUSED, &[], "cache", 2, 0),
    ] {
        let fake = upstream(&[], authorities, rcode);
        let served = served(&fake, cache);
        let answers = [0, 1].map(|_| served.ask(&question("x.example.org.", "A")));
        assert_eq!(answers[1].rcode(), rcode);
        assert_eq!(fake.asked(), asked, "{rcode} {cache}");
        for soa in answers.iter().flat_map(|answer| &answer.authorities) {
            assert!(soa.ttl <= ttl && soa.ttl + 20 > ttl, "{rcode} {cache}: {}", soa.ttl);
        }
    }
}

#[test]
fn what_must_not_be_kept_is_not() {
    for answers in [
        // Aliases that lead nowhere, in a circle, and to two things.
        &["a.example.org. 60 IN CNAME b.example.org."] as &[&str],
        &["a.example.org. 60 IN CNAME b.example.org.", "b.example.org. 60 IN CNAME a.example.org."],
        &[
            "a.example.org. 60 IN CNAME b.example.org.",
            "a.example.org. 60 IN CNAME c.example.org.",
            "b.example.org. 60 IN A 192.0.2.1",
        ],
        &["x.example.org. 60 IN A 192.0.2.1"],
        &["a.example.org. 0 IN A 192.0.2.1"],
    ] {
        let fake = upstream(answers, &[], Rcode::NOERROR);
        let served = served(&fake, "cache {\n success 1000 60 0\n }");
        for _ in 0..2 {
            assert_eq!(served.ask(&question("a.example.org.", "A")).answers.len(), answers.len());
        }
        assert_eq!(fake.asked(), 2, "{answers:?}");
    }
}

#[test]
fn an_answer_is_asked_for_again_when_its_life_is_over() {
    let fake = upstream(&["example.org. 1 IN A 192.0.2.1"], &[], Rcode::NOERROR);
    let served = served(&fake, "cache {\n success 1000 60 1\n keepttl\n }");
    until("it is asked again", || {
        assert_eq!(served.ask(&question("example.org.", "A")).answers[0].ttl, 1);
        fake.asked() == 2
    });
}

#[test]
fn popular_answers_are_fetched_before_they_expire() {
    let fake = upstream(&["example.org. 5 IN A 192.0.2.1"], &[], Rcode::NOERROR);
    let served = served(&fake, "cache {\n prefetch 2 1m 90%\n }");
    let asked = question("example.org.", "A");
    (0..3).for_each(|_| assert_eq!(served.ask(&asked).answers.len(), 1));
    // 90% of 5 s, rounded up, is all of it.
    until("it is fetched", || fake.asked() == 2);
    until("it is counted", || line(&served.page(), "coredns_cache_prefetch_total") > 0.5);
}

/// An upstream that can be told to fail.
fn moody() -> (Fake, Arc<Mutex<Mood>>, Arc<AtomicUsize>) {
    let mood = Arc::new(Mutex::new(Mood::Good(1)));
    let (shared, asked) = (mood.clone(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let fake = Fake::start(move |seen: &Seen| {
        // Health checks ask for the root.
        if !seen.message.questions[0].name.is_root() {
            count.fetch_add(1, Ordering::SeqCst);
        }
        match *shared.lock().unwrap() {
            Mood::Silent => Vec::new(),
            Mood::Fails => {
                let mut message = reply_to(&seen.message);
                message.set_rcode(Rcode::SERVFAIL);
                vec![bytes(&message)]
            }
            Mood::Good(last) => {
                let mut message = Message::read(&good(seen, last).remove(0)).unwrap();
                message.answers[0].ttl = 1;
                vec![bytes(&message)]
            }
        }
    });
    (fake, mood, asked)
}

#[derive(Clone, Copy)]
enum Mood {
    Good(u8),
    Fails,
    Silent,
}

fn last(message: &Message) -> u8 {
    *message.answers[0].data.as_bytes().last().unwrap()
}

#[test]
fn stale_answers_are_given_while_the_upstream_fails() {
    for (options, ttl) in [
        ("serve_stale 1h immediate", 0),
        ("serve_stale 1h immediate 30s", 30),
        ("serve_stale 1h verify", 0),
        ("serve_stale 1h verify 100ms 30s 30s", 30),
    ] {
        let (fake, mood, asked) = moody();
        let served = served(&fake, &format!("cache {{\n success 1000 60 1\n {options}\n }}"));
        let question = question("example.org.", "A");
        assert_eq!(last(&served.ask(&question)), 1);
        *mood.lock().unwrap() = if options.contains("100ms") { Mood::Silent } else { Mood::Fails };
        let stale = "coredns_cache_served_stale_total";
        until("it is stale", || {
            let answer = served.ask(&question);
            assert_eq!(last(&answer), 1, "{options}");
            let is_stale = line(&served.page(), stale) > 0.5;
            assert!(!is_stale || answer.answers[0].ttl == ttl, "{options}: {}", answer.answers[0].ttl);
            is_stale
        });
        until("it was refreshed in vain", || asked.load(Ordering::SeqCst) > 1);
        assert_eq!(last(&served.ask(&question)), 1);
        *mood.lock().unwrap() = Mood::Good(2);
        if ttl != 30 || options.contains("immediate") {
            until("the new one is there", || last(&served.ask(&question)) == 2);
        }
    }
}

/// The answer by TCP.
fn ask_by_tcp(served: &Served, message: &Message) -> Message {
    let mut stream = std::net::TcpStream::connect(served.address).unwrap();
    let asked = bytes(message);
    stream.write_all(&[&(asked.len() as u16).to_be_bytes()[..], &asked].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::read(&answer).unwrap()
}

/// The upstream either closes each connection unanswered, or its later answers are too long for a datagram.
fn is_refreshed(options: &str, has_tcp: bool) {
    let turn = Arc::new(AtomicUsize::new(1));
    let by_tcp = Arc::new(AtomicUsize::new(0));
    let count = by_tcp.clone();
    let (shared, ttl) = (turn.clone(), if options.contains("prefetch") { 5 } else { 1 });
    let fake = Fake::start(move |seen: &Seen| {
        let turn = shared.load(Ordering::SeqCst);
        count.fetch_add(usize::from(seen.by == By::Tcp), Ordering::SeqCst);
        if seen.by == By::Tcp && !has_tcp {
            return vec![Vec::new()];
        }
        let mut message = Message::read(&good(seen, turn as u8).remove(0)).unwrap();
        message.answers[0].ttl = ttl;
        if has_tcp && turn > 1 && seen.by == By::Udp {
            message.answers.clear();
            message.flags.set_tc(true);
        }
        vec![bytes(&message)]
    });
    let forward = format!("forward . {} {{\n max_fails 0\n }}", fake.address);
    let served = Served::start(&format!(". {{\n cache {{\n success 1000 60 1\n {options}\n }}\n {forward}\n}}\n"));
    let asked = question("example.org.", "A");
    assert_eq!(last(&served.ask(&asked)), 1);
    turn.store(2, Ordering::SeqCst);
    until(&format!("it is refreshed: {options}, TCP {has_tcp}"), || {
        // That a client asks by TCP is no reason to refresh by TCP.
        let answer = ask_by_tcp(&served, &asked);
        assert!(answer.rcode() == Rcode::NOERROR && !answer.answers.is_empty(), "{options}, TCP {has_tcp}");
        last(&answer) == 2
    });
    assert_eq!(by_tcp.load(Ordering::SeqCst) > 0, has_tcp, "{options}");
}

#[test]
fn refreshes_go_by_udp_and_by_tcp_where_that_is_cut() {
    let all = [
        "serve_stale 1h immediate",
        "serve_stale 1h verify",
        "serve_stale 1h verify 5s",
        "serve_stale 1h verify 5s 0s 1s",
        "prefetch 1 1m 90%",
    ];
    std::thread::scope(|scope| {
        for options in all {
            scope.spawn(move || is_refreshed(options, false));
            scope.spawn(move || is_refreshed(options, true));
        }
    });
}

#[test]
fn one_question_is_out_for_all_that_ask_the_same() {
    let (fake, mood, asked) = moody();
    *mood.lock().unwrap() = Mood::Silent;
    // Whichever thread they come to.
    let corefile = format!(". {{\n cache\n forward . {}\n}}\n", fake.address);
    let served = Served::start_on(&corefile, services(), free().port(), 3);
    let waiting: Vec<_> = (0..20).map(|_| served.send(&question("example.org.", "A"))).collect();
    until("it is asked", || asked.load(Ordering::SeqCst) >= 1);
    // The first attempt is lost; the second brings the answer to all.
    *mood.lock().unwrap() = Mood::Good(1);
    for socket in &waiting {
        assert_eq!(last(&receive(socket)), 1);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn one_question_verifies_for_all_that_ask_the_same() {
    for options in ["serve_stale 1h verify", "serve_stale 1h verify 10s"] {
        let (fake, mood, asked) = moody();
        let served = served(&fake, &format!("cache {{\n success 1000 60 1\n {options}\n }}"));
        let question = question("example.org.", "A");
        assert_eq!(last(&served.ask(&question)), 1);
        *mood.lock().unwrap() = Mood::Fails;
        until("it is stale", || {
            served.ask(&question);
            line(&served.page(), "coredns_cache_served_stale_total") > 0.5
        });
        *mood.lock().unwrap() = Mood::Silent;
        let before = asked.load(Ordering::SeqCst);
        let waiting: Vec<_> = (0..20).map(|_| served.send(&question)).collect();
        until("it is asked", || asked.load(Ordering::SeqCst) > before);
        // The first attempt is lost; the second brings the answer to all.
        *mood.lock().unwrap() = Mood::Good(2);
        for socket in &waiting {
            assert_eq!(last(&receive(socket)), 2, "{options}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), before + 2, "{options}");
    }
}

#[test]
fn a_question_that_leads_back_to_itself_does_not_wait_for_itself() {
    let template = |from: &str, to: &str| {
        format!(" template IN A {from} {{\n  answer \"{{{{ .Name }}}} 60 IN CNAME {to}\"\n }}\n")
    };
    let circle = template("one.test", "two.test.") + &template("two.test", "one.test.");
    let served = Served::start(&format!(". {{\n cache\n{circle}}}\n"));
    for name in ["one.test.", "two.test."] {
        let waiting: Vec<_> = (0..3).map(|_| served.send(&question(name, "A"))).collect();
        for socket in &waiting {
            assert_eq!(receive(socket).answers[0].rtype, Type::CNAME, "{name}");
        }
    }
}

#[test]
fn hits_go_the_fast_way_and_misses_of_what_is_to_be_kept_do_not() {
    let asker = Asker::new(
        "example.org {\n cache 30\n loadbalance\n hosts {\n 10.0.0.1 a.example.org b.example.org\n 10.0.0.2 a.example.org\n 10.0.0.3 a.example.org\n }\n}\n",
    );
    let asked = with_edns("A.example.org.", "A");
    assert!(asker.fast(&asked, "127.0.0.1:4000").is_none());
    let sorted = |message: &Message| {
        let mut records = shown(&message.answers);
        records.sort();
        records
    };
    let all = ["A.example.org. 30 IN A 10.0.0.1", "A.example.org. 30 IN A 10.0.0.2", "A.example.org. 30 IN A 10.0.0.3"];
    assert_eq!(sorted(&asker.send_plainly(&asked)), all);
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let fast = asker.fast(&asked, "127.0.0.1:4000").expect("a hit");
        assert_eq!(sorted(&fast), all);
        assert!(fast.flags.aa() && fast.edns.is_some() && fast.id == 7);
        orders.insert(shown(&fast.answers));
    }
    assert_eq!(orders.len(), 6);
    // What others ask is not theirs.
    assert!(asker.fast(&question("b.example.org.", "A"), "127.0.0.1:4000").is_none());
    assert!(asker.fast(&with_edns("a.example.org.", "AAAA"), "127.0.0.1:4000").is_none());
    // Not EDNS makes the difference, but DO.
    assert!(asker.fast(&question("a.example.org.", "A"), "127.0.0.1:4000").is_some());
    assert!(asker.fast(&Message { edns: Some(Edns::new(1232, true)), ..asked }, "127.0.0.1:4000").is_none());
}

#[test]
fn memory_has_a_bound_and_so_has_each_share() {
    let store = Store::new(200_000);
    let share = Arc::new(Share::new([0, 0]));
    let other = Arc::new(Share::new([100_000, 100_000]));
    let put = |share: &Arc<Share>, n: usize| {
        let message = question(&format!("n{n}.example.org."), "A");
        let mut message = reply_to(&message);
        let name = message.questions[0].name.clone();
        message.answers.push(Record::new(name.clone(), Type::A, 60, crate::wire::Data::a([192, 0, 2, 1].into())));
        let wire = bytes(&message);
        let key = Key { share: share.number, name: name.as_wire(), rtype: Type::A, class: Class::IN, bits: 0 };
        let judged = Judged::new(&wire).unwrap();
        let entry = Entry::new(&judged, &wire, 60, &key, share.clone(), Kind::Success).unwrap();
        let evicted = store.put(Arc::new(entry));
        assert!(store.find(&key).success().is_some() || evicted > 0);
        assert!(store.bytes() <= 200_000);
        evicted
    };
    // By bytes: many hundreds are there, and no more than fit.
    let evicted: u32 = (0..2000).map(|n| put(&other, n)).sum();
    assert!(evicted > 500 && other.count(Kind::Success) > 300, "{evicted} {}", other.count(Kind::Success));
    assert_eq!(other.count(Kind::Success) + evicted as usize, 2000);
    // Again: in place.
    let before = other.count(Kind::Success);
    assert_eq!(put(&other, 1999) as usize, other.count(Kind::Success).abs_diff(before));
    store.sweep(&other);
    assert_eq!((store.bytes(), other.count(Kind::Success)), (0, 0));
    // By number.
    (0..300).for_each(|n| assert_eq!(put(&share, n), 0));
    assert_eq!(share.count(Kind::Success), 300);
    store.sweep(&share);
    assert_eq!((store.bytes(), share.count(Kind::Success)), (0, 0));
    let store = Store::new(LIMIT_OF_TEST);
    let put = |n: usize| {
        let mut message = reply_to(&question(&format!("n{n}.example.org."), "A"));
        let name = message.questions[0].name.clone();
        message.answers.push(Record::new(name.clone(), Type::A, 60, crate::wire::Data::a([192, 0, 2, 1].into())));
        let wire = bytes(&message);
        let key = Key { share: share.number, name: name.as_wire(), rtype: Type::A, class: Class::IN, bits: 0 };
        let entry = Entry::new(&Judged::new(&wire).unwrap(), &wire, 60, &key, share.clone(), Kind::Success).unwrap();
        store.put(Arc::new(entry))
    };
    let evicted: u32 = (0..1500).map(put).sum();
    assert_eq!((share.count(Kind::Success), evicted), (1024, 476));
}

const LIMIT_OF_TEST: usize = 64 << 20;

#[test]
fn readers_see_whole_entries_while_writers_write() {
    let store = Arc::new(Store::new(1 << 20));
    let share = Arc::new(Share::new([0, 0]));
    let is_done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let name = Name::parse("example.org.").unwrap();
    let entry = |last: u8| {
        let mut message = reply_to(&question("example.org.", "A"));
        message.answers.push(Record::new(name.clone(), Type::A, 60, crate::wire::Data::a([192, 0, 2, last].into())));
        let wire = bytes(&message);
        let key = Key { share: share.number, name: name.as_wire(), rtype: Type::A, class: Class::IN, bits: 0 };
        Arc::new(Entry::new(&Judged::new(&wire).unwrap(), &wire, 60, &key, share.clone(), Kind::Success).unwrap())
    };
    store.put(entry(0));
    std::thread::scope(|scope| {
        let (store, share, name, done) = (&store, &share, &name, &is_done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let key = Key { share: share.number, name: name.as_wire(), rtype: Type::A, class: Class::IN, bits: 0 };
                let found = store.find(&key);
                assert_eq!(found.success().expect("always one").body.len(), 16);
            }
        });
        for n in 0..20_000 {
            store.put(entry(n as u8));
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(share.count(Kind::Success), 1);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, line, reason) in [
        ("cache 0", 2, "use 1 or more"),
        ("cache -5", 2, "use 1 or more"),
        ("cache\n cache", 3, "once"),
        ("cache {\n success\n }", 3, "takes 1 to 3"),
        ("cache {\n success many\n }", 3, "not a number of answers"),
        ("cache {\n denial 1000 0\n }", 3, "0 s is not possible"),
        ("cache {\n prefetch 1 1m 10\n }", 3, "10% to 90%"),
        ("cache {\n prefetch 1 1m 95%\n }", 3, "10% to 90%"),
        ("cache {\n serve_stale 1h later\n }", 3, "use immediate or verify"),
        ("cache {\n serve_stale 1h immediate 1500ms\n }", 3, "whole seconds"),
        ("cache {\n serve_stale 1h immediate 1s 1s 1s\n }", 3, "takes 0 to 4"),
        ("cache {\n serve_stale 1h verify 1s 1s 6m\n }", 3, "within 5m"),
        ("cache {\n serve_stale_policy prefer_positive\n }", 3, "needs serve_stale"),
        ("cache {\n servfail 6m\n }", 3, "5m at most"),
        ("cache {\n disable all\n }", 3, "use success or denial"),
        ("cache {\n keepttl yes\n }", 3, "takes no argument"),
        ("cache {\n keeptl\n }", 3, "did you mean keepttl?"),
    ] {
        let problem = refusal(&format!(". {{\n {text}\n whoami\n}}\n"));
        assert!(problem.starts_with(&format!("Corefile:{line}: ")) && problem.contains(reason), "{text}: {problem}");
    }
    for text in [
        "cache",
        "cache 300",
        "cache example.org",
        "cache 300 example.org 10.0.0.0/24",
        "cache {\n success 5000\n denial 2500\n prefetch 10\n servfail 10s\n serve_stale\n serve_stale_policy prefer_positive\n }",
    ] {
        Asker::new(&format!(". {{\n {text}\n whoami\n}}\n"));
    }
}

#[test]
fn expired_signatures_are_not_kept() {
    let sign =
        |begins: &str, ends: &str| format!("example.org. 60 IN RRSIG A 8 2 60 {ends} {begins} 1 example.org. AAAA");
    for (signature, is_kept) in
        [(sign("20200101000000", "20200201000000"), false), (sign("20200101000000", "20300101000000"), true)]
    {
        let mut message = reply_to(&question("example.org.", "A"));
        message.answers = vec![record("example.org. 60 IN A 192.0.2.1"), record(&signature)];
        message.edns = Some(Edns::new(1232, true));
        let judged = Judged::new(&bytes(&message)).unwrap();
        assert_eq!(judged.kept_as().is_some(), is_kept, "{signature}");
    }
}

#[test]
fn opt_in_the_middle_does_not_break_pointers() {
    let mut message = reply_to(&question("example.org.", "A"));
    message.answers.push(record("example.org. 60 IN A 192.0.2.1"));
    message.additionals.push(record("ns.example.com. 60 IN A 192.0.2.2"));
    let mut wire = bytes(&message);
    // OPT goes in front of the additional record.
    let at = Judged::new(&wire).unwrap().records[1].name;
    wire.splice(at..at, [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    wire[11] = 2;
    let share = Arc::new(Share::new([0, 0]));
    let name = message.questions[0].name.clone();
    let key = Key { share: share.number, name: name.as_wire(), rtype: Type::A, class: Class::IN, bits: 0 };
    let judged = Judged::new(&wire).unwrap();
    let entry = Entry::new(&judged, &wire, 60, &key, share, Kind::Success).unwrap();
    assert_eq!(entry.counts, [1, 0, 1]);
    let mut again = wire[..judged.body_start].to_vec();
    again.extend_from_slice(&entry.body);
    again[11] = 1;
    let read = Message::read(&again).unwrap();
    assert_eq!((read.answers, read.additionals), (message.answers, message.additionals));
}

#[test]
fn nothing_that_comes_makes_it_panic() {
    let mut message = reply_to(&question("a.example.org.", "A"));
    message.answers = vec![
        record("a.example.org. 60 IN CNAME b.example.org."),
        record("b.example.org. 60 IN A 192.0.2.1"),
        record("b.example.org. 60 IN A 192.0.2.2"),
    ];
    message.edns = Some(Edns::new(1232, true));
    let wire = bytes(&message);
    let share = Arc::new(Share::new([0, 0]));
    let name = message.questions[0].name.clone();
    let key = Key { share: share.number, name: name.as_wire(), rtype: Type::A, class: Class::IN, bits: 0 };
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..20_000 {
        let mut bad = wire.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bad.len());
            bad[at] = random.u8(..);
        }
        bad.truncate(random.usize(..=bad.len()));
        if let Some(judged) = Judged::new(&bad)
            && let Some(entry) = Entry::new(&judged, &bad, 60, &key, share.clone(), Kind::Success)
        {
            let mut body = entry.body.to_vec();
            entry.write_ttls(&mut body, 1);
            entry.shuffle(&mut body);
        }
    }
}

#[test]
fn a_sweep_leaves_nothing_of_a_server_that_was_reloaded() {
    let fake = upstream(&["example.org. 60 IN A 192.0.2.1"], &[], Rcode::NOERROR);
    let served = served(&fake, "cache");
    let store = served.services.kept.get("cache", || Store::new(store::LIMIT));
    served.ask(&question("example.org.", "A"));
    assert!(store.bytes() > 0);
    let running = served.running.as_ref().unwrap();
    running.reload().unwrap();
    until("the old one is gone", || store.bytes() == 0);
    served.ask(&question("example.org.", "A"));
    assert_eq!(fake.asked(), 2);
}
