//! Decisions against a model of the maps.

use super::*;
use crate::layout::{AFFINITY, CHAIN, MAPPED, Pick, Word, nowhere};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

mod itself;

/// Maps as the kernel has them, without the kernel.
#[derive(Default)]
struct Model {
    frontends: HashMap<FrontendKey, u32>,
    words: BTreeMap<u32, u64>,
    turns: RefCell<HashMap<u32, u64>>,
    slots: Vec<u32>,
    backends: HashMap<u32, Backend>,
    affinity: RefCell<HashMap<AffinityKey, Affinity>>,
    sockets: RefCell<HashMap<SocketKey, Translation>>,
    room: Cell<usize>,
    now: Cell<u64>,
    random: Cell<u32>,
    stand_ins: HashMap<u32, u32>,
    alive_until: Cell<u64>,
    stand_in_calls: Cell<bool>,
}

impl Tables for Model {
    fn frontend(&self, key: &FrontendKey) -> Option<u32> {
        self.frontends.get(key).copied()
    }
    fn word(&self, service: u32) -> u64 {
        self.words.get(&service).copied().unwrap_or(0)
    }
    fn turn(&self, service: u32) -> u64 {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(service).or_default();
        *turn += 1;
        *turn - 1
    }
    fn slot(&self, index: u32) -> u32 {
        self.slots[index as usize]
    }
    fn stand_in(&self, service: u32) -> u32 {
        self.stand_ins.get(&service).copied().unwrap_or(0)
    }
    fn alive_until(&self) -> u64 {
        self.alive_until.get()
    }
    fn is_stand_in_calling(&self) -> bool {
        self.stand_in_calls.get()
    }
    fn backend(&self, id: u32) -> Option<Backend> {
        self.backends.get(&id).copied()
    }
    fn affinity(&self, key: &AffinityKey) -> Option<Affinity> {
        self.affinity.borrow().get(key).copied()
    }
    fn set_affinity(&self, key: &AffinityKey, value: &Affinity) {
        self.affinity.borrow_mut().insert(*key, *value);
    }
    fn touch_affinity(&self, key: &AffinityKey, now: u64) {
        self.affinity.borrow_mut().get_mut(key).unwrap().used = now;
    }
    fn random(&self) -> u32 {
        self.random.get()
    }
    fn now(&self) -> u64 {
        self.now.get()
    }
}

impl Sockets for Model {
    fn get(&self, key: &SocketKey, into: &mut Translation) -> bool {
        let found = self.sockets.borrow().get(key).copied();
        if let Some(t) = found {
            *into = t;
        }
        found.is_some()
    }
    fn has(&self, key: &SocketKey) -> bool {
        self.sockets.borrow().contains_key(key)
    }
    fn put(&self, key: &SocketKey, value: &Translation) -> bool {
        let mut sockets = self.sockets.borrow_mut();
        if !sockets.contains_key(key) && sockets.len() == self.room.get() {
            return false;
        }
        sockets.insert(*key, *value);
        true
    }
    fn put_new(&self, key: &SocketKey, value: &Translation) -> bool {
        !self.has(key) && self.put(key, value)
    }
    fn remove(&self, key: &SocketKey) -> bool {
        self.sockets.borrow_mut().remove(key).is_some()
    }
    fn swap_next(&self, key: &SocketKey, next: u32) -> Option<u32> {
        self.sockets.borrow_mut().get_mut(key).map(|t| core::mem::replace(&mut t.next, next))
    }
    fn set_flags(&self, first: &SocketKey, flags: u32) -> bool {
        self.sockets.borrow_mut().get_mut(first).map(|t| t.next |= flags).is_some()
    }
    fn clear_flags(&self, first: &SocketKey, flags: u32) -> bool {
        self.sockets.borrow_mut().get_mut(first).map(|t| t.next &= !flags).is_some()
    }
}

fn at(last: u32, port: u16) -> Endpoint {
    Endpoint::new([0, 0, MAPPED, last.to_be()], port.to_be())
}

impl Model {
    /// A model with services 1 to `count`: VIP `count`:80, `backends` each, ids service * 100 + n.
    fn new(count: u32, backends: u32, how: u32, affinity: u32) -> Model {
        let mut m = Model { room: Cell::new(usize::MAX), ..Model::default() };
        for service in 1..=count {
            for protocol in [TCP, UDP] {
                m.frontends.insert(FrontendKey::of(&at(service, 80), protocol), service);
            }
            m.set(service, &(0..backends).collect::<Vec<_>>(), how, affinity);
        }
        m
    }

    /// Publishes a set of backends, as the agent does it.
    fn set(&mut self, service: u32, members: &[u32], how: u32, affinity: u32) {
        let ids: Vec<u32> = members.iter().map(|n| service * 100 + n).collect();
        for b in self.backends.values_mut().filter(|b| b.service == service) {
            b.life &= !1;
        }
        for id in &ids {
            let life = self.backends.get(id).map_or(1, |b| b.life | 1);
            let endpoint = at(1000 + id, 8080);
            self.backends.insert(*id, Backend::new(endpoint, service, life));
        }
        let base = self.slots.len() as u32;
        self.slots.extend([how, affinity, ids.len() as u32, 0]);
        self.slots.extend(&ids);
        self.words.insert(service, Word::new(base, ids.len() as u32, 1).0);
    }

    /// Gives a service a stand-in at 9:53, id service * 100 + 99, which is alive until `until`.
    fn give_stand_in(&mut self, service: u32, until: u64) -> Endpoint {
        let (id, endpoint) = (service * 100 + 99, at(9, 53));
        self.backends.insert(id, Backend::new(endpoint, service, 1));
        self.stand_ins.insert(service, id);
        self.alive_until.set(until);
        endpoint
    }

    fn ask(service: u32, cookie: u64, protocol: u8) -> Ask {
        Ask {
            vip: at(service, 80),
            cookie,
            client: 7,
            protocol,
            looked_up: protocol,
            untold: false,
            may_be_connection: false,
        }
    }

    fn close(&self, cookie: u64, protocol: u8) {
        let mut next = release(self, cookie, protocol);
        while next != 0 {
            next = release_step(self, cookie, next);
        }
    }
}

#[test]
fn round_robin_goes_in_turn() {
    let m = Model::new(1, 3, Pick::Turn as u32, 0);
    let to: Vec<_> = (0..6).map(|c| connect(&m, &Model::ask(1, c, TCP)).to).collect();
    assert_eq!(to[..3], [at(1100, 8080), at(1101, 8080), at(1102, 8080)]);
    assert_eq!(to[..3], to[3..]);
}

#[test]
fn random_reaches_the_first_and_the_last() {
    let m = Model::new(1, 3, Pick::Random as u32, 0);
    m.random.set(0);
    assert_eq!(connect(&m, &Model::ask(1, 1, TCP)).to, at(1100, 8080));
    m.random.set(u32::MAX);
    assert_eq!(connect(&m, &Model::ask(1, 2, TCP)).to, at(1102, 8080));
}

#[test]
fn hashing_depends_on_the_client_alone() {
    let m = Model::new(1, 50, Pick::Client as u32, 0);
    let mut ask = Model::ask(1, 1, TCP);
    let first = connect(&m, &ask).to;
    let mut others = 0;
    for n in 0..20 {
        ask.cookie = n;
        assert_eq!(connect(&m, &ask).to, first);
        let other = Ask { client: 1000 + n, ..ask };
        others += u32::from(connect(&m, &other).to != first);
    }
    assert!(others > 10, "other clients go elsewhere");
}

#[test]
fn what_is_no_service_is_left_alone_and_ends_an_earlier_connection() {
    let m = Model::new(1, 1, 0, 0);
    connect(&m, &Model::ask(1, 5, UDP));
    assert_eq!(peer(&m, 5, &at(1100, 8080)), Some(at(1, 80)));
    let d = connect(&m, &Model::ask(9, 5, UDP));
    assert_eq!((d.verdict, d.redirected, d.is_refused()), (Verdict::NotService, false, false));
    assert_eq!(peer(&m, 5, &at(1100, 8080)), None, "the same socket, connected twice, forgot its first backend");
    assert!(m.sockets.borrow().is_empty());
}

#[test]
fn without_endpoints_tcp_is_refused_and_udp_sent_nowhere() {
    let m = Model::new(1, 0, 0, 0);
    let d = connect(&m, &Model::ask(1, 5, TCP));
    assert_eq!((d.verdict, d.is_refused()), (Verdict::NoEndpoint, true));
    let d = connect(&m, &Model::ask(1, 6, UDP));
    assert_eq!((d.verdict, d.is_refused()), (Verdict::NoEndpoint, false));
    assert_eq!(d.to, at(0x7f00_0001, 1));
    assert_eq!(peer(&m, 6, &d.to), Some(at(1, 80)), "getpeername shows the VIP all the same");
    let d = send(&m, &Model::ask(1, 7, UDP));
    assert_eq!((d.verdict, d.is_refused()), (Verdict::NoEndpoint, true));
    let v6 = Endpoint::new([1, 2, 3, 4], 1);
    assert_eq!(nowhere(&v6), Endpoint::new([0, 0, 0, 1u32.to_be()], 1u16.to_be()));
}

#[test]
fn a_service_that_is_just_being_taken_away_is_left_alone() {
    let mut m = Model::new(1, 1, 0, 0);
    m.words.insert(1, 0);
    assert_eq!(connect(&m, &Model::ask(1, 5, TCP)).verdict, Verdict::Withdrawn);
    assert_eq!(send(&m, &Model::ask(1, 5, UDP)).verdict, Verdict::Withdrawn);
}

#[test]
fn affinity_holds_until_its_time_is_over_or_its_backend_gone() {
    let mut m = Model::new(1, 3, AFFINITY, 10);
    let to = connect(&m, &Model::ask(1, 1, TCP)).to;
    for second in [3, 12, 22] {
        m.now.set(second * 1_000_000_000);
        let d = connect(&m, &Model::ask(1, second, TCP));
        assert_eq!((d.to, d.verdict), (to, Verdict::Affinity), "each use begins the time anew; second {second}");
    }
    m.now.set(32_000_000_001);
    assert_eq!(connect(&m, &Model::ask(1, 2, TCP)).verdict, Verdict::Scheduled);
    let to = connect(&m, &Model::ask(1, 3, TCP)).to;
    let left: Vec<u32> = (0..3).filter(|n| at(1100 + n, 8080) != to).collect();
    m.set(1, &left, AFFINITY, 10);
    let d = connect(&m, &Model::ask(1, 4, TCP));
    assert_eq!(d.verdict, Verdict::Scheduled);
    assert_ne!(d.to, to);
}

#[test]
fn a_backend_id_of_another_service_or_life_has_no_affinity() {
    let mut m = Model::new(2, 1, AFFINITY, 10);
    connect(&m, &Model::ask(1, 1, TCP));
    // The id went to the other service.
    m.backends.get_mut(&100).unwrap().service = 2;
    assert_eq!(connect(&m, &Model::ask(1, 2, TCP)).verdict, Verdict::Scheduled);
    m.backends.get_mut(&100).unwrap().service = 1;
    m.backends.get_mut(&100).unwrap().life += 2;
    assert_eq!(connect(&m, &Model::ask(1, 3, TCP)).verdict, Verdict::Scheduled);
}

#[test]
fn an_unconnected_socket_keeps_its_backend_while_it_is_a_member() {
    let mut m = Model::new(1, 3, 0, 0);
    let ask = Model::ask(1, 5, UDP);
    let first = send(&m, &ask);
    assert_eq!(first.verdict, Verdict::Scheduled);
    for _ in 0..5 {
        assert_eq!(send(&m, &ask), Decision { verdict: Verdict::Kept, ..first });
        assert_eq!(receive(&m, 5, &first.to), Some(at(1, 80)));
    }
    let left: Vec<u32> = (0..3).filter(|n| at(1100 + n, 8080) != first.to).collect();
    m.set(1, &left, 0, 0);
    let second = send(&m, &ask);
    assert_eq!(second.verdict, Verdict::Scheduled);
    assert_ne!(second.to, first.to);
    assert_eq!(receive(&m, 5, &second.to), Some(at(1, 80)));
    assert_eq!(receive(&m, 5, &first.to), Some(at(1, 80)), "an answer that was on its way is recognised");
    assert_eq!(receive(&m, 5, &at(1, 1)), None, "a stranger stays a stranger");
    m.close(5, UDP);
    assert!(m.sockets.borrow().is_empty());
}

#[test]
fn one_socket_and_many_vips() {
    let m = Model::new(200, 2, 0, 0);
    let ask = |service| Model::ask(service, 5, UDP);
    let to: Vec<Endpoint> = (1..=200).map(|s| send(&m, &ask(s)).to).collect();
    for service in 1..=200 {
        let backend = to[service as usize - 1];
        assert_eq!(send(&m, &ask(service)).to, backend, "kept for service {service}");
        assert_eq!(receive(&m, 5, &backend), Some(at(service, 80)));
    }
    m.close(5, UDP);
    assert!(m.sockets.borrow().is_empty(), "{} entries left", m.sockets.borrow().len());
}

#[test]
fn two_services_with_one_backend_and_one_socket() {
    let mut m = Model::new(3, 1, 0, 0);
    for service in 1..=3 {
        m.backends.get_mut(&(service * 100)).unwrap().endpoint = at(5000, 8080);
    }
    for round in 0..3 {
        for service in 1..=3 {
            assert!(send(&m, &Model::ask(service, 5, UDP)).redirected);
            assert_eq!(receive(&m, 5, &at(5000, 8080)), Some(at(service, 80)), "round {round}: what it asked last");
        }
    }
    // One of them moves away: the others' answers are recognised all the same.
    m.backends.get_mut(&200).unwrap().life += 1;
    m.set(2, &[1], 0, 0);
    for service in [2, 1, 3] {
        let to = send(&m, &Model::ask(service, 5, UDP)).to;
        assert_eq!(receive(&m, 5, &to), Some(at(service, 80)));
    }
    m.close(5, UDP);
    assert!(m.sockets.borrow().is_empty(), "{:?}", m.sockets.borrow());
}

#[test]
fn an_affinity_used_by_another_cpu_in_the_future_still_holds() {
    let m = Model::new(1, 3, AFFINITY, 10);
    m.now.set(5);
    let to = connect(&m, &Model::ask(1, 1, TCP)).to;
    m.now.set(4);
    assert_eq!(connect(&m, &Model::ask(1, 2, TCP)).to, to);
}

#[test]
fn a_connection_and_datagrams_elsewhere_from_one_socket() {
    let m = Model::new(2, 1, 0, 0);
    connect(&m, &Model::ask(1, 5, UDP));
    send(&m, &Model::ask(2, 5, UDP));
    assert_eq!(peer(&m, 5, &at(1100, 8080)), Some(at(1, 80)));
    assert_eq!(receive(&m, 5, &at(1200, 8080)), Some(at(2, 80)));
    // connect() to what is no service forgets the connection and not the rest.
    connect(&m, &Model::ask(9, 5, UDP));
    assert!(m.has(&SocketKey::further(5, 2)) && m.has(&SocketKey { service: CHAIN, ..SocketKey::first(5) }));
    assert_eq!(peer(&m, 5, &at(1100, 8080)), None);
    assert_eq!(receive(&m, 5, &at(1200, 8080)), Some(at(2, 80)));
    m.close(5, UDP);
    assert!(m.sockets.borrow().is_empty());
}

#[test]
fn a_full_map_hurts_a_datagram_and_no_connection() {
    let m = Model::new(2, 1, 0, 0);
    m.room.set(0);
    let d = connect(&m, &Model::ask(1, 5, TCP));
    assert_eq!((d.verdict, d.to, d.is_refused()), (Verdict::Untracked, at(1100, 8080), false));
    let d = send(&m, &Model::ask(1, 6, UDP));
    assert_eq!((d.verdict, d.is_refused()), (Verdict::SocketsFull, true));
    // Full in the middle of a further translation: nothing half stays.
    for room in 1..4 {
        m.room.set(room);
        assert!(send(&m, &Model::ask(1, 7, UDP)).redirected);
        let d = send(&m, &Model::ask(2, 7, UDP));
        assert_eq!(d.verdict, Verdict::SocketsFull, "room for {room}");
        assert_eq!(send(&m, &Model::ask(2, 7, UDP)).verdict, Verdict::SocketsFull, "nor the next time");
        m.close(7, UDP);
        assert!(m.sockets.borrow().is_empty(), "room for {room}: {:?}", m.sockets.borrow());
    }
}

#[test]
fn what_is_closed_in_silence_is_not_remembered() {
    let m = Model::new(1, 1, 0, 0);
    let d = connect(&m, &Ask { untold: true, ..Model::ask(1, 5, TCP) });
    assert_eq!((d.verdict, d.to), (Verdict::Untracked, at(1100, 8080)));
    assert!(m.sockets.borrow().is_empty());
}

#[test]
fn a_word_packs_what_it_is_given() {
    let w = Word::new(0xff_ffff, Word::MAX_LENGTH, u32::MAX);
    assert_eq!((w.base(), w.length(), w.generation()), (0xff_ffff, Word::MAX_LENGTH, 0xf_ffff));
    assert!(!Word(0).is_published() && Word::new(0, 0, 1).is_published());
}

#[test]
fn a_stand_in_takes_all_while_it_is_alive() {
    for how in [Pick::Turn as u32, Pick::Random as u32, Pick::Client as u32 | AFFINITY] {
        let mut m = Model::new(2, 3, how, 10);
        let local = m.give_stand_in(1, 1_000);
        for (cookie, protocol) in [(1, TCP), (2, UDP), (3, TCP)] {
            let d = connect(&m, &Model::ask(1, cookie, protocol));
            assert_eq!((d.verdict, d.to, d.is_refused()), (Verdict::StandIn, local, false));
            assert_eq!(peer(&m, cookie, &local), Some(at(1, 80)), "it shows as the VIP");
        }
        assert_eq!(connect(&m, &Model::ask(2, 4, TCP)).verdict, Verdict::Scheduled, "the other has none");
        m.now.set(1_000);
        let d = connect(&m, &Model::ask(1, 5, TCP));
        assert_eq!(d.verdict, Verdict::Scheduled, "its time is over at the very moment");
        assert_ne!(d.to, local);
        m.alive_until.set(2_000);
        assert_eq!(connect(&m, &Model::ask(1, 6, TCP)).to, local, "and it is back, whatever affinity says");
        m.stand_in_calls.set(true);
        assert_ne!(connect(&m, &Model::ask(1, 7, TCP)).to, local, "itself it leads to the others");
    }
}

#[test]
fn a_stand_in_serves_where_no_endpoint_does() {
    let mut m = Model::new(1, 0, 0, 0);
    let local = m.give_stand_in(1, 1_000);
    assert_eq!(connect(&m, &Model::ask(1, 1, TCP)).to, local);
    assert_eq!(send(&m, &Model::ask(1, 2, UDP)).to, local);
    m.now.set(1_000);
    assert_eq!(connect(&m, &Model::ask(1, 3, TCP)).verdict, Verdict::NoEndpoint);
    assert_eq!(send(&m, &Model::ask(1, 2, UDP)).verdict, Verdict::NoEndpoint, "no call stays with the dead");
    m.alive_until.set(2_000);
    m.words.insert(1, 0);
    assert_eq!(connect(&m, &Model::ask(1, 4, TCP)).verdict, Verdict::Withdrawn);
}

#[test]
fn an_unconnected_socket_goes_over_to_the_stand_in_and_back() {
    let mut m = Model::new(2, 2, 0, 0);
    let ask = Model::ask(1, 5, UDP);
    let before = send(&m, &ask);
    assert_eq!(before.verdict, Verdict::Scheduled);
    // A second VIP, so that the first is looked up among several.
    send(&m, &Model::ask(2, 5, UDP));
    for round in 1..4 {
        let local = m.give_stand_in(1, round * 1_000);
        let d = send(&m, &ask);
        assert_eq!((d.verdict, d.to), (Verdict::StandIn, local));
        assert_eq!(receive(&m, 5, &local), Some(at(1, 80)));
        assert_eq!(send(&m, &ask).verdict, Verdict::Kept);
        m.now.set(round * 1_000);
        let d = send(&m, &ask);
        assert_eq!(d.verdict, Verdict::Scheduled);
        assert_eq!(receive(&m, 5, &d.to), Some(at(1, 80)));
        assert_eq!(receive(&m, 5, &local), Some(at(1, 80)), "an answer that was on its way is recognised");
        assert_eq!(send(&m, &ask).verdict, Verdict::Kept);
    }
    m.close(5, UDP);
    assert!(m.sockets.borrow().is_empty(), "{:?}", m.sockets.borrow());
}

#[test]
fn a_stand_in_that_has_become_somebody_else_is_none() {
    let mut m = Model::new(2, 1, 0, 0);
    m.give_stand_in(1, 1_000);
    m.backends.get_mut(&199).unwrap().service = 2;
    assert_eq!(connect(&m, &Model::ask(1, 1, TCP)).verdict, Verdict::Scheduled);
    m.backends.get_mut(&199).unwrap().service = 1;
    m.backends.get_mut(&199).unwrap().life += 1;
    assert_eq!(connect(&m, &Model::ask(1, 2, TCP)).verdict, Verdict::Scheduled);
}
