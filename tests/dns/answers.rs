//! Both answer alike, under every Corefile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bowline_dns::wire::{Message, Rcode, Record, Type};

use crate::ask::{self, Ask, CLIENTS, Via};
use crate::case::Case;
use crate::client::{self, LATE, SOON};
use crate::compare::{self, Kind};
use crate::ground::Ground;
use crate::names::Names;
use crate::objects::Object;
use crate::odd;
use crate::pair::Pair;
use crate::random::Random;
use crate::report::{self, Difference};
use crate::rules::{self, Seen};

/// Corefiles at the same time: while one is starting, another is asked.
const AT_ONCE: usize = 3;

/// What is asked is the same in every run. BOWLINE_DNS_SEED=random looks further.
const SEED: u64 = 20_261_121;

/// The number from which all questions follow.
pub(crate) fn seed() -> u64 {
    match std::env::var("BOWLINE_DNS_SEED").as_deref() {
        Err(_) => SEED,
        Ok("random") => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64,
        Ok(seed) => seed.parse().unwrap(),
    }
}

/// Compares all Corefiles; those under which something differs, or one of both doesn't start.
pub(crate) fn differences(ground: &Ground, seed: u64) -> Vec<String> {
    let cases = Case::all();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(why) = compare_case(ground, case, seed) {
                println!("{:26} {}", case.name, why.lines().next().unwrap_or_default());
                failed.lock().unwrap().push(format!("under {}: {why}", case.name));
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(worker))));
    failed.into_inner().unwrap()
}

fn compare_case(ground: &Ground, case: &Case, seed: u64) -> Result<(), String> {
    let began = Instant::now();
    let pair = Pair::start(ground, case).map_err(|error| format!("{error:#}"))?;
    let started = began.elapsed();
    let (asked, differences) = compare_all(&pair, case, &ground.objects, seed);
    pair.stop();
    println!("{:26} {asked} questions, started after {started:.1?}, done after {:.1?}", case.name, began.elapsed());
    match differences.len() {
        0 => Ok(()),
        count => Err(format!("{count} differences\n{}", report::show(&case.text, &differences))),
    }
}

/// Asks both all questions of a Corefile; how many, and where they differ.
pub(crate) fn compare_all(pair: &Pair, case: &Case, objects: &[Object], seed: u64) -> (usize, Vec<Difference>) {
    let mut random = Random::new(seed, &case.name);
    let mut asks = ask::all(&Names::new(case, objects), case.questions, &mut random);
    asks.extend(odd::all(&case.probe.0));
    let mut copies = Vec::new();
    for zone in &case.transfers {
        copies.push(Ask { from: CLIENTS[0], ..Ask::plain(zone, Type::AXFR).over_tcp() });
        let serials = serial(pair, zone).map_or(vec![1], |now| vec![1, now, now.wrapping_add(1)]);
        asks.extend(serials.iter().map(|serial| odd::changes(zone, *serial, Via::Udp)));
        copies.extend(serials.iter().map(|serial| odd::changes(zone, *serial, Via::Tcp)));
    }
    let mut differences = compare_these(pair, case, &asks);
    differences.extend(copies.iter().filter_map(|ask| compare_transfer(pair, case, ask)));
    (asks.len() + copies.len(), differences)
}

/// The serial of a zone, where both have the same.
fn serial(pair: &Pair, zone: &str) -> Option<u32> {
    let ask = Ask::plain(zone, Type::SOA);
    let [ours, theirs] = [&pair.ours, &pair.theirs].map(|server| {
        let answer = Message::read(&client::ask_once(server.port, &ask, LATE)?).ok()?;
        Some(answer.answers.first()?.data.to_soa()?.serial)
    });
    ours.filter(|_| ours == theirs)
}

fn compare_these(pair: &Pair, case: &Case, asks: &[Ask]) -> Vec<Difference> {
    let mut answers = pair.ask(asks, SOON);
    // A datagram may have been lost twice on a busy machine; what is lost again is a difference.
    let is_lost = |at: &usize| answers[0][*at].is_some() != answers[1][*at].is_some();
    let lost: Vec<usize> = (0..asks.len()).filter(is_lost).collect();
    let again = pair.ask(&lost.iter().map(|at| asks[*at].clone()).collect::<Vec<_>>(), LATE);
    for (answers, again) in answers.iter_mut().zip(again) {
        lost.iter().zip(again).for_each(|(at, answer)| answers[*at] = answer);
    }
    let [ours, theirs] = answers;
    let mut differences = Vec::new();
    for (ask, (ours, theirs)) in asks.iter().zip(ours.into_iter().zip(theirs)) {
        if let Some(kind) = difference(pair, case, ask, [ours.as_ref(), theirs.as_ref()]) {
            differences.push(Difference { kind, ask: ask.clone(), ours, theirs });
        }
    }
    differences
}

/// What is different, after all that is meant.
fn difference(pair: &Pair, case: &Case, ask: &Ask, [ours, theirs]: [Option<&Vec<u8>>; 2]) -> Option<Kind> {
    if ours.is_some_and(|ours| ours.len() > ask.size) {
        return Some(Kind::TooLong);
    }
    let read = |bytes: Option<&Vec<u8>>| bytes.map(|bytes| Message::read(bytes)).transpose();
    let (Ok(ours), theirs) = (read(ours), read(theirs)) else { return Some(Kind::Unreadable) };
    let Ok(theirs) = theirs else {
        // What CoreDNS sends is no message.
        let rule = ours.as_ref().and_then(|ours| rules::unreadable(ours));
        rules::count(rule.as_slice());
        return rule.is_none().then_some(Kind::Unreadable);
    };
    // What isn't whole asks nothing.
    let asked = Message::read(&ask.bytes).unwrap_or_default();
    // Clients hold an answer to their question, letter by letter.
    let is_asked = |ours: &Message| {
        let questions = ours.questions.iter().zip(&asked.questions);
        // What can't be read has no question to repeat.
        let has_none = ours.rcode() == Rcode::FORMERR && ours.questions.is_empty();
        has_none
            || ours.questions.len() == asked.questions.len()
                && questions.into_iter().all(|(a, b)| a.name.eq_exact(&b.name))
    };
    if ours.as_ref().is_some_and(|ours| !is_asked(ours)) {
        return Some(Kind::Question);
    }
    let whole = || Message::read(client::ask(pair.theirs.port, &[ask.over_tcp()], LATE).remove(0)?.as_slice()).ok();
    let kind = compare::compare(case, [ours.as_ref(), theirs.as_ref()], whole)?;
    let seen = Seen { case, ask, asked: &asked, ours: ours.as_ref() };
    if let Some(rule) = theirs.as_ref().and_then(|theirs| rules::silence(&seen, theirs)) {
        rules::count(&[rule]);
        return None;
    }
    let (corrected, names) = rules::corrected(&seen, theirs.as_ref());
    if names.is_empty() || compare::compare(case, [ours.as_ref(), corrected.as_ref()], whole).is_some() {
        return Some(kind);
    }
    rules::count(&names);
    None
}

/// Copies a zone from both, or what has changed in it: the same records, the SOA first and last.
fn compare_transfer(pair: &Pair, case: &Case, ask: &Ask) -> Option<Difference> {
    let is_of_changes = ask.question().rtype == Type::IXFR;
    let copies = [&pair.ours, &pair.theirs].map(|server| {
        let mut soas = 0;
        let messages = client::ask_for_many(server.port, ask, |bytes| {
            let message = Message::read(bytes).unwrap_or_default();
            soas += message.answers.iter().filter(|record| record.rtype == Type::SOA).count();
            // Nothing has changed where the SOA comes alone.
            soas >= 2 || message.answers.is_empty() || is_of_changes && message.answers.len() == 1
        });
        let mut messages = messages.iter().map(|bytes| Message::read(bytes).unwrap());
        let mut copy = messages.next().unwrap_or_default();
        messages.for_each(|message| copy.answers.extend(message.answers));
        copy.answers.iter_mut().for_each(compare::without_own);
        copy
    });
    let sorted = |copy: &Message| {
        let mut lines: Vec<String> = copy.answers.iter().map(Record::to_string).collect();
        lines.sort();
        lines
    };
    let ends = |copy: &Message| [copy.answers.first(), copy.answers.last()].map(|record| record.map(Record::to_string));
    let [ours, theirs] = &copies;
    let is_same =
        |theirs: &Message| ours.flags == theirs.flags && ends(ours) == ends(theirs) && sorted(ours) == sorted(theirs);
    if is_same(theirs) {
        return None;
    }
    let asked = Message::read(&ask.bytes).unwrap();
    let (corrected, names) = rules::corrected(&Seen { case, ask, asked: &asked, ours: Some(ours) }, Some(theirs));
    if !names.is_empty() && corrected.is_some_and(|theirs| is_same(&theirs)) {
        rules::count(&names);
        return None;
    }
    let [ours, theirs] = [ours, theirs].map(|copy| {
        // Only what the other hasn't, so that it can be seen.
        let other = sorted(if std::ptr::eq(copy, ours) { theirs } else { ours });
        let answers = copy.answers.iter().filter(|record| !other.contains(&record.to_string())).cloned().collect();
        let mut bytes = Vec::new();
        Message { answers, ..copy.clone() }.write(&mut bytes);
        Some(bytes)
    });
    Some(Difference { kind: Kind::Answers, ask: ask.clone(), ours, theirs })
}
