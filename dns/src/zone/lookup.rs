//! What a zone answers to a question: RFC 1034 §4.3.2, with wildcards by RFC 4592, DNAME by RFC 6672, proofs by RFC
//! 4035 §3.1. Where the specifications leave a choice it is CoreDNS's.

use super::{Node, Zone};
use crate::wire::{Data, Name, Record, Type};

/// Aliases that are followed within a zone: a chain of so many has its address, as with CoreDNS.
const CHAIN: usize = 9;

/// What was found.
#[derive(Debug)]
pub struct Lookup {
    /// The sections of the answer.
    pub answers: Vec<Record>,
    /// See there.
    pub authorities: Vec<Record>,
    /// See there.
    pub additionals: Vec<Record>,
    /// How it ended.
    pub end: End,
    /// The wildcard that answered.
    pub wildcard: Option<Name>,
}

/// How a look-up ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Records of the type.
    Success,
    /// The name is there, the type is not.
    NoData,
    /// There are only names below it.
    EmptyNonTerminal,
    /// There is no such name.
    NameError,
    /// The name lies below a delegation.
    Delegation,
    /// An alias leads to this name, whose records this look-up doesn't tell: outside of the zone, or at no plain name.
    Elsewhere(Name),
    /// A DNAME makes the name too long (RFC 6672 §2.2: YXDOMAIN).
    TooLong,
    /// A DNAME leads to the name itself, or an alias of a wildcard to a name that it stands for: no end would come.
    Circle,
}

/// Where the walk from the apex down to a name ends.
enum WalkEnd<'a> {
    /// At a DNAME above the name.
    Dname(&'a Name, &'a Node),
    /// At a delegation at or above the name.
    Cut(&'a Name, &'a Node),
    /// At the name.
    Node(&'a Node),
    /// At the name, which has no records but names below it.
    Empty,
    /// The name is not there. This is the longest name above it that is (the closest encloser).
    Missing(Name),
}

impl Lookup {
    fn new(end: End) -> Lookup {
        let (answers, authorities, additionals) = Default::default();
        Lookup { answers, authorities, additionals, end, wildcard: None }
    }
}

impl Zone {
    /// Looks a name up that is within the zone. `dnssec`: with signatures and proofs.
    pub fn lookup(&self, name: &Name, rtype: Type, dnssec: bool) -> Lookup {
        match self.walk(name, rtype) {
            WalkEnd::Dname(owner, node) => self.substitute(name, rtype, owner, node, dnssec),
            WalkEnd::Cut(owner, node) => self.delegation(Vec::new(), owner, node, dnssec),
            WalkEnd::Node(node) => self.at(name, rtype, name, node, dnssec),
            WalkEnd::Empty => {
                let mut found = self.negative(Vec::new(), End::EmptyNonTerminal, dnssec);
                self.prove(&mut found, &[name], dnssec);
                found
            }
            WalkEnd::Missing(encloser) => self.wildcard(name, rtype, &encloser, dnssec),
        }
    }

    fn walk(&self, name: &Name, rtype: Type) -> WalkEnd<'_> {
        let (top, labels) = (self.origin.label_count(), name.label_count());
        let mut encloser = self.origin.clone();
        for depth in top..=labels {
            let here = name.suffix(depth);
            let Some((owner, node)) = self.nodes.get_key_value(&here) else {
                if !self.has_below(&here) {
                    return WalkEnd::Missing(encloser);
                }
                encloser = here;
                continue;
            };
            if depth < labels && node.has(Type::DNAME) {
                return WalkEnd::Dname(owner, node);
            }
            // The DS records of a delegation belong to this side of it.
            let is_ds = rtype == Type::DS && depth == labels;
            if depth > top && node.has(Type::NS) && !is_ds {
                return WalkEnd::Cut(owner, node);
            }
            if depth == labels {
                return WalkEnd::Node(node);
            }
            encloser = here;
        }
        WalkEnd::Empty
    }

    /// The answer of the records at `owner` to a question for `name`, which is the same or what a wildcard stands for.
    fn at(&self, name: &Name, rtype: Type, owner: &Name, node: &Node, dnssec: bool) -> Lookup {
        let is_wild = owner != name;
        let mut found = Lookup::new(End::Success);
        // RFC 4035 §2.5: only these stand beside a CNAME.
        let is_alias = node.has(Type::CNAME)
            && rtype != Type::CNAME
            && !(matches!(rtype, Type::NSEC | Type::RRSIG) && node.has(rtype));
        if is_alias {
            self.put(&mut found.answers, name, node, Type::CNAME, dnssec);
            let target = node.of(Type::CNAME).first().and_then(|(_, data)| data.to_name());
            found = self.follow(found.answers, name, target, rtype, dnssec);
        } else if node.has(rtype) {
            self.put(&mut found.answers, name, node, rtype, dnssec);
            found.additionals = self.additional(&found.answers, dnssec);
            self.put_apex(&mut found.authorities, Type::NS, dnssec);
            if rtype == Type::SOA || rtype == Type::NS {
                self.at_apex(&mut found, rtype, name, dnssec);
            }
        } else {
            found = self.negative(Vec::new(), End::NoData, dnssec);
            self.prove(&mut found, &[owner], dnssec);
            if !is_wild {
                return found;
            }
        }
        if is_wild {
            // That no closer name is there.
            self.prove(&mut found, &[name], dnssec);
        }
        found
    }

    /// The zone's own NS records need no repetition, and bring the addresses of their hosts.
    fn at_apex(&self, found: &mut Lookup, rtype: Type, name: &Name, dnssec: bool) {
        if rtype == Type::NS && *name == self.origin {
            found.authorities.clear();
            found.additionals = self.glue(name, &found.answers, dnssec);
        }
    }

    /// Follows an alias to `target` within the zone.
    fn follow(&self, mut answers: Vec<Record>, name: &Name, target: Option<Name>, rtype: Type, dnssec: bool) -> Lookup {
        let mut seen = vec![name.clone()];
        let mut next = target;
        while let Some(target) = next.take() {
            if seen.contains(&target) && !matches!(self.walk(&target, rtype), WalkEnd::Node(_)) {
                let mut found = Lookup { answers, ..Lookup::new(End::Circle) };
                self.put_apex(&mut found.authorities, Type::NS, dnssec);
                return found;
            }
            if seen.len() > CHAIN || seen.contains(&target) {
                break;
            }
            if !target.is_within(&self.origin) {
                return Lookup { answers, ..Lookup::new(End::Elsewhere(target)) };
            }
            match self.walk(&target, rtype) {
                WalkEnd::Cut(owner, node) => return self.delegation(answers, owner, node, dnssec),
                WalkEnd::Node(node) if node.has(Type::CNAME) => {
                    self.put(&mut answers, &target, node, Type::CNAME, dnssec);
                    next = node.of(Type::CNAME).first().and_then(|(_, data)| data.to_name());
                    seen.push(target);
                }
                WalkEnd::Node(node) if node.has(rtype) => {
                    self.put(&mut answers, &target, node, rtype, dnssec);
                    break;
                }
                WalkEnd::Node(_) => {
                    let mut found = self.negative(answers, End::NoData, dnssec);
                    self.prove(&mut found, &[&target], dnssec);
                    return found;
                }
                // Wildcards, further DNAMEs and absent names: by a question of its own.
                WalkEnd::Dname(..) | WalkEnd::Empty | WalkEnd::Missing(_) => {
                    return Lookup { answers, ..Lookup::new(End::Elsewhere(target)) };
                }
            }
        }
        let mut found = Lookup::new(End::Success);
        found.additionals = self.additional(&answers, dnssec);
        found.answers = answers;
        self.put_apex(&mut found.authorities, Type::NS, dnssec);
        found
    }

    /// A DNAME at `owner` renames what lies below it (RFC 6672 §3.2).
    fn substitute(&self, name: &Name, rtype: Type, owner: &Name, node: &Node, dnssec: bool) -> Lookup {
        let mut answers = Vec::new();
        self.put(&mut answers, owner, node, Type::DNAME, dnssec);
        let (Some((ttl, data)), Some(front)) = (node.of(Type::DNAME).first(), name.before(owner)) else {
            return Lookup::new(End::Circle);
        };
        let Some(Ok(target)) = data.to_name().map(|under| Name::join(front, &under)) else {
            return Lookup { answers, ..Lookup::new(End::TooLong) };
        };
        if target == *name {
            return Lookup::new(End::Circle);
        }
        answers.push(Record::new(name.clone(), Type::CNAME, *ttl, Data::name(&target)));
        if rtype != Type::CNAME {
            return self.follow(answers, name, Some(target), rtype, dnssec);
        }
        let mut found = Lookup { answers, ..Lookup::new(End::Success) };
        self.put_apex(&mut found.authorities, Type::NS, dnssec);
        found
    }

    /// The way to the servers of a delegated zone, with DS or the proof that there is none (RFC 4035 §3.1.4).
    fn delegation(&self, answers: Vec<Record>, owner: &Name, node: &Node, dnssec: bool) -> Lookup {
        let mut found = Lookup { answers, ..Lookup::new(End::Delegation) };
        self.put(&mut found.authorities, owner, node, Type::NS, false);
        found.additionals = self.glue(owner, &found.authorities, dnssec);
        if dnssec {
            let proof = if node.has(Type::DS) { Type::DS } else { Type::NSEC };
            self.put(&mut found.authorities, owner, node, proof, true);
        }
        found
    }

    /// The name is not there: the wildcard below its closest encloser may stand for it (RFC 4592 §3.3.1).
    fn wildcard(&self, name: &Name, rtype: Type, encloser: &Name, dnssec: bool) -> Lookup {
        let source = encloser.prepend(b"*").ok();
        if let Some((source, node)) = source.as_ref().and_then(|source| self.nodes.get_key_value(source)) {
            return Lookup { wildcard: Some(source.clone()), ..self.at(name, rtype, source, node, dnssec) };
        }
        let is_empty = source.as_ref().is_some_and(|source| self.has_below(source));
        let end = if is_empty { End::NoData } else { End::NameError };
        let mut found = self.negative(Vec::new(), end, dnssec);
        match &source {
            Some(source) => self.prove(&mut found, &[name, source], dnssec),
            None => self.prove(&mut found, &[name], dnssec),
        }
        found
    }

    /// An answer without records of the type: it has the SOA (RFC 2308 §3).
    fn negative(&self, answers: Vec<Record>, end: End, dnssec: bool) -> Lookup {
        let mut found = Lookup { answers, ..Lookup::new(end) };
        self.put_apex(&mut found.authorities, Type::SOA, dnssec);
        found
    }

    /// Adds the NSEC records at or in front of these names, each once.
    fn prove(&self, found: &mut Lookup, names: &[&Name], dnssec: bool) {
        if !dnssec {
            return;
        }
        for name in names {
            let Some((owner, node)) = self.nsec_before(name) else { continue };
            let is_there = |record: &Record| record.rtype == Type::NSEC && record.name == *owner;
            if !found.authorities.iter().any(is_there) {
                self.put(&mut found.authorities, owner, node, Type::NSEC, true);
            }
        }
    }

    /// The zone's authority: its SOA or NS records.
    pub(crate) fn put_apex(&self, to: &mut Vec<Record>, rtype: Type, dnssec: bool) {
        if let Some(apex) = self.nodes.get(&self.origin) {
            self.put(to, &self.origin, apex, rtype, dnssec);
        }
    }

    /// The addresses of name servers at or below the name that they serve: nobody else can tell them.
    fn glue(&self, owner: &Name, servers: &[Record], dnssec: bool) -> Vec<Record> {
        let servers = servers.iter().filter(|record| record.rtype == Type::NS);
        let names = servers.filter_map(|record| record.data.to_name()).filter(|name| name.is_within(owner));
        self.addresses(names, dnssec)
    }

    /// The addresses of the hosts that records name, where they lie in the zone.
    pub(crate) fn additional(&self, records: &[Record], dnssec: bool) -> Vec<Record> {
        let mut names: Vec<Name> = Vec::new();
        for record in records {
            let name = match record.rtype {
                Type::SRV => record.data.to_srv().map(|srv| srv.target),
                Type::MX => record.data.to_mx().map(|(_, host)| host),
                Type::SVCB | Type::HTTPS => Name::read(record.data.as_bytes(), 2).ok().map(|(target, _)| target),
                _ => None,
            };
            names.extend(name.filter(|name| name.is_within(&self.origin) && !names.contains(name)));
        }
        self.addresses(names.into_iter(), dnssec)
    }

    fn addresses(&self, names: impl Iterator<Item = Name>, dnssec: bool) -> Vec<Record> {
        let mut records = Vec::new();
        for name in names {
            let Some((owner, node)) = self.nodes.get_key_value(&name) else { continue };
            self.put(&mut records, owner, node, Type::A, dnssec);
            self.put(&mut records, owner, node, Type::AAAA, dnssec);
        }
        records
    }
}
