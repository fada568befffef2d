//! One document into objects: what kind it is, whose name it bears, and lists.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::fields::{Field, Form, Read, Refusal, rfc3339};
use super::tape::{Node, Tape, Value};
use super::{Envelope, Fault, Found, Writer, endpoints, others, service, slice};
use bowline_cluster::intern::Strings;
use bowline_cluster::object::{Kind, Labels, NetworkPolicy, Object, ObjectKey, ObjectName, Str};

/// The annotation of a slice that says when its last change began (RFC 3339).
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What a watch needs of an object besides what it is: its `resourceVersion`, and when the change that
/// made it began, as Kubernetes' network programming latency counts.
pub(super) fn marks(tape: &Tape<'_>) -> (Option<Box<str>>, Option<SystemTime>) {
    let root = tape.root().map(|root| Field::root(root, None));
    let metadata = root.as_ref().and_then(|root| root.map_at("metadata").ok()?);
    let Some(metadata) = metadata else { return (None, None) };
    let version = metadata.text_at("resourceVersion").ok().flatten().map(Box::from);
    let annotations = metadata.map_at("annotations").ok().flatten();
    let triggered = annotations.and_then(|map| map.text_at(TRIGGERED).ok()?).and_then(time);
    (version, triggered)
}

/// A time with its fraction of a second.
pub(crate) fn time(text: &str) -> Option<SystemTime> {
    let seconds = u64::try_from(rfc3339(text)?).ok()?;
    let fraction = text.split_once(['.', ',']).map_or("", |(_, rest)| rest);
    let digits: String = fraction.chars().take_while(char::is_ascii_digit).chain("000000000".chars()).take(9).collect();
    UNIX_EPOCH.checked_add(Duration::new(seconds, digits.parse().ok()?))
}

/// Lists in lists deeper than this are refused; also bounds the recursion.
const MAX_LISTS: u32 = 4;

/// `metadata`, and the name in it.
pub(super) struct Metadata<'p, 't, 'a> {
    pub(super) field: Field<'p, 't, 'a>,
    pub(super) name: ObjectName,
}

impl Metadata<'_, '_, '_> {
    pub(super) fn labels(&self, strings: &Strings) -> Read<Labels> {
        self.field.get("labels").map_or(Ok(Box::default()), |field| field.labels(strings))
    }
}

/// Reads what is on a tape; `list` is the list it is an item of.
pub(super) fn read(tape: &Tape<'_>, item: bool, list: Option<&Envelope>, writer: Writer, strings: &Strings) -> Found {
    let mut found = Found::default();
    let Some(root) = tape.root() else { return found };
    if item && *root.value() == Value::Seq {
        // An item of a YAML list is read with its dash.
        for element in root.elements() {
            document(element, list, 1, writer, strings, &mut found);
        }
    } else {
        document(root, list, 0, writer, strings, &mut found);
    }
    found
}

fn document(
    node: Node<'_, '_>,
    list: Option<&Envelope>,
    depth: u32,
    writer: Writer,
    strings: &Strings,
    found: &mut Found,
) {
    if *node.value() == Value::Null {
        return;
    }
    let notes = RefCell::default();
    let root = Field::root(node, (writer == Writer::Server).then_some(&notes));
    let mut object = None;
    let refused = classify(&root, list, depth, writer, strings, found, &mut object).err();
    for note in notes.take() {
        found.note(fault(note, object.as_ref(), node.line()));
    }
    if let Some(refusal) = refused {
        let fault = fault(refusal, object.as_ref(), node.line());
        found.refuse(fault, object);
    }
}

/// Puts the object into `found`; notes in `named` whose it is as soon as that is known.
fn classify(
    root: &Field<'_, '_, '_>,
    list: Option<&Envelope>,
    depth: u32,
    writer: Writer,
    strings: &Strings,
    found: &mut Found,
    named: &mut Option<ObjectKey>,
) -> Read<()> {
    let root = &root.map()?;
    // Items of a list as the API server sends it have neither; they are what the list is of.
    let kind = match root.text_at("kind")? {
        Some(kind) => kind,
        None => match list {
            Some(list) => match list.kind.strip_suffix("List") {
                Some(kind) if !kind.is_empty() => kind,
                _ => return root.missing("kind", "is missing; write what the object is, like `kind: Service`"),
            },
            None if depth > 0 => {
                found.needs_list = true;
                return Ok(());
            }
            None => return root.missing("kind", "is missing; write what the object is, like `kind: Service`"),
        },
    };
    let version = match (root.text_at("apiVersion")?, list) {
        (Some(version), _) => version,
        (None, Some(list)) if !list.version.is_empty() => &list.version,
        (None, _) => return root.missing("apiVersion", "is missing; write it, like `apiVersion: v1`"),
    };
    if kind.ends_with("List")
        && let Some(items) = root.get("items")
    {
        if depth >= MAX_LISTS {
            return items.err("is a list in too many lists; write the objects in one list");
        }
        let envelope = Envelope { kind: kind.to_string(), version: version.to_string() };
        for element in items.list()? {
            document(element.node(), Some(&envelope), depth + 1, writer, strings, found);
        }
        return Ok(());
    }
    let (group, version_only) = version.rsplit_once('/').unwrap_or(("", version));
    let (kind, wanted) = match (group, kind) {
        ("", "Service") => (Kind::Service, "v1"),
        ("", "Endpoints") => (Kind::Endpoints, "v1"),
        ("", "Pod") => (Kind::Pod, "v1"),
        ("", "Node") => (Kind::Node, "v1"),
        ("", "Namespace") => (Kind::Namespace, "v1"),
        ("discovery.k8s.io", "EndpointSlice") => (Kind::EndpointSlice, "discovery.k8s.io/v1"),
        ("networking.k8s.io", "NetworkPolicy") => (Kind::NetworkPolicy, "networking.k8s.io/v1"),
        ("networking.k8s.io", "ServiceCIDR") => (Kind::ServiceCidr, "networking.k8s.io/v1"),
        ("bowline.dev", "PodAddresses") => (Kind::PodAddresses, "bowline.dev/v1"),
        ("multicluster.x-k8s.io", "ServiceImport") => (Kind::ServiceImport, "multicluster.x-k8s.io/v1alpha1"),
        _ => {
            crate::left_out::say(&format!("{version} {kind}"));
            found.others += 1;
            return Ok(());
        }
    };
    let metadata = metadata(root, kind, strings)?;
    *named = Some(ObjectKey { kind, name: metadata.name.clone() });
    if wanted.rsplit('/').next() != Some(version_only) {
        return root.missing("apiVersion", format!("is {version}; write the object in {wanted}"));
    }
    found.objects.push(match kind {
        Kind::Service => Object::Service(Arc::new(service::read(root, &metadata, strings)?)),
        Kind::EndpointSlice => Object::EndpointSlice(Arc::new(slice::read(root, &metadata, strings)?)),
        Kind::Endpoints => Object::Endpoints(Arc::new(endpoints::read(root, &metadata, strings)?)),
        Kind::Pod => Object::Pod(Arc::new(others::pod(root, &metadata, strings)?)),
        Kind::Node => Object::Node(Arc::new(others::node(root, &metadata, strings)?)),
        Kind::Namespace => Object::Namespace(Arc::new(others::namespace(&metadata, strings)?)),
        Kind::NetworkPolicy => Object::NetworkPolicy(Arc::new(NetworkPolicy { name: metadata.name })),
        Kind::ServiceImport => Object::ServiceImport(Arc::new(others::service_import(root, &metadata, strings)?)),
        Kind::PodAddresses => Object::PodAddresses(Arc::new(others::pod_addresses(root, &metadata, strings)?)),
        Kind::ServiceCidr => Object::ServiceCidr(Arc::new(others::service_cidr(root, &metadata)?)),
    });
    Ok(())
}

fn metadata<'p, 't, 'a>(root: &'p Field<'p, 't, 'a>, kind: Kind, strings: &Strings) -> Read<Metadata<'p, 't, 'a>> {
    let Some(field) = root.map_at("metadata")? else {
        return root.missing("metadata", "is missing; write the object's name there");
    };
    let form = match kind {
        Kind::Service | Kind::Namespace => Form::Label,
        _ => Form::Subdomain,
    };
    let name = match field.get("name") {
        Some(name) if kind == Kind::Service => strings.get(name.name(form)?),
        Some(name) => Str::from(name.name(form)?),
        None => return field.missing("name", "is missing; write a name (generateName works only in Kubernetes)"),
    };
    let namespace = match kind {
        _ if kind.is_cluster_wide() => Str::default(),
        _ => match field.get("namespace").filter(|namespace| !namespace.is_empty_text()) {
            Some(namespace) => strings.get(namespace.name(Form::Label)?),
            None => strings.get("default"),
        },
    };
    Ok(Metadata { field, name: ObjectName { namespace, name } })
}

fn fault(refusal: Refusal, object: Option<&ObjectKey>, document: u32) -> Fault {
    Fault {
        line: if refusal.line == 0 { document } else { refusal.line },
        object: object.map(ToString::to_string),
        field: (!refusal.field.is_empty()).then_some(refusal.field),
        message: refusal.message,
    }
}
