//! Answers are those of a simple model, whatever the cluster and however it came about; and the two forms of an
//! answer are one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod model;
mod world;

use std::collections::BTreeSet;

use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::{Change, Origin, Update};
use bowline_cluster::state::{Options as StateOptions, State};
use proptest::prelude::*;

use super::*;
use crate::wire::{Class, Flags, Message, Name, Question, Record, Type};
use world::{World, object_name};

/// Types that are asked for.
const TYPES: [Type; 12] = [
    Type::A,
    Type::AAAA,
    Type::SRV,
    Type::CNAME,
    Type::TXT,
    Type::PTR,
    Type::MX,
    Type::NS,
    Type::SOA,
    Type::HTTPS,
    Type::ANY,
    Type::AXFR,
];

/// An answer as sets of texts, but for what has an order of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    rcode: u16,
    answers: BTreeSet<String>,
    authorities: BTreeSet<String>,
    additionals: BTreeSet<String>,
    /// Where the name stands for another one.
    external: Option<String>,
}

fn text(record: &Record) -> String {
    let data = match record.rtype {
        Type::A | Type::AAAA => record.data.to_ip(record.rtype).unwrap().to_string(),
        Type::SRV => {
            let srv = record.data.to_srv().unwrap();
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target)
        }
        Type::SOA => {
            let soa = record.data.to_soa().unwrap();
            let times = (soa.refresh, soa.retry, soa.expire, soa.minimum);
            format!("{} {} {} {times:?}", soa.mname, soa.rname, soa.serial)
        }
        Type::TXT => String::from_utf8(record.data.to_txt().unwrap().concat()).unwrap(),
        _ => record.data.to_name().unwrap().to_string(),
    };
    format!("{} {} {} {data}", record.name, record.ttl, record.rtype)
}

fn texts(records: &[Record]) -> BTreeSet<String> {
    let texts: BTreeSet<String> = records.iter().map(text).collect();
    assert_eq!(texts.len(), records.len(), "a record stands there twice: {records:?}");
    texts
}

/// Resolves a name in both forms, which must be one.
fn say(records: &Records, name: &Name, rtype: Type) -> Said {
    let lower = name.to_lower();
    let (zone, front) = records.options().find(lower.as_wire()).expect("the name is in a zone");
    let answer = records.resolve(zone, &lower.as_wire()[..front], rtype);
    let sections = answer.sections(name);
    let said = Said {
        rcode: answer.rcode().0,
        answers: texts(&sections.answers),
        authorities: texts(&sections.authorities),
        additionals: texts(&sections.additionals),
        external: if let Found::External(target) = &answer.found { Some(target.to_string()) } else { None },
    };
    let mut bytes = [0; 65535];
    let question = 12 + name.as_wire().len() + 4;
    let asked = Asked { name: name.as_wire(), front };
    match answer.write(asked, &mut bytes[question..]) {
        None => assert!(matches!(answer.found, Found::ServeError | Found::External(_)), "{:?}", answer.found),
        Some(written) => {
            let message = read(name, rtype, written, &mut bytes);
            let both = [(&message.answers, &sections.answers), (&message.authorities, &sections.authorities)];
            for (as_bytes, as_records) in both.into_iter().chain([(&message.additionals, &sections.additionals)]) {
                assert_eq!(as_bytes.len(), as_records.len());
                for (a, b) in as_bytes.iter().zip(as_records) {
                    assert_eq!(a, b);
                    assert!(a.name.eq_exact(&b.name), "{a:?} {b:?}");
                    assert_eq!(a.data.as_bytes(), b.data.as_bytes());
                }
            }
        }
    }
    said
}

/// Reads what was written behind a question.
fn read(name: &Name, rtype: Type, written: Written, bytes: &mut [u8]) -> Message {
    let mut head = Message { flags: Flags::default(), ..Message::default() };
    head.questions.push(Question { name: name.clone(), rtype, class: Class::IN });
    let mut start = Vec::new();
    head.write(&mut start);
    bytes[..start.len()].copy_from_slice(&start);
    for (at, count) in [(6, written.answers), (8, written.authorities), (10, written.additionals)] {
        bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    Message::read(&bytes[..start.len() + written.bytes]).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// What a state becomes that is told of these worlds, one after the other.
struct Told {
    state: State,
    keeper: Keeper,
}

impl Told {
    fn new(options: Options) -> Told {
        Told { state: State::new(StateOptions::default()), keeper: Keeper::new(options) }
    }

    fn tell(&mut self, world: &World) -> (Snapshot, Arc<Records>) {
        let put = |object| Change::Put(object, Origin::from("test"));
        let applied = self.state.apply(Update::All(world.objects().into_iter().map(put).collect()));
        let snapshot = self.state.snapshot();
        self.keeper.update_at(&snapshot, Some(&applied.changed), 7);
        (snapshot, self.keeper.published().load_full())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_the_models(
        worlds in proptest::collection::vec(world::world(), 1..4),
        options in world::options(),
        asked in proptest::collection::vec(world::asked(), 60),
    ) {
        let mut told = Told::new(options.clone());
        for world in &worlds {
            let (snapshot, records) = told.tell(world);
            let model = model::Model { snapshot: &snapshot, options: &options };
            for name in &asked {
                let name = Name::parse(name).unwrap();
                for rtype in TYPES {
                    let (said, expected) = (say(&records, &name, rtype), model.say(&name, rtype));
                    prop_assert_eq!(&said, &expected, "{} {} of {:#?}", name, rtype, world);
                }
            }
        }
    }
}
