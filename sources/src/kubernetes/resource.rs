//! What is read of a cluster, and by which paths of its API.

use super::{Pods, Wanted};
use bowline_cluster::object::{Kind, ObjectName};

/// A collection of objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    /// The API group; empty for core.
    pub(super) group: &'static str,
    version: &'static str,
    /// Without it nothing works; the others may be missing, or forbidden to us.
    pub(super) is_required: bool,
    /// Only objects that this selects (as a query has it), where it isn't empty.
    fields: String,
}

impl Resource {
    const fn new(kind: Kind, group: &'static str, version: &'static str, is_required: bool) -> Resource {
        Resource { kind, group, version, is_required, fields: String::new() }
    }

    /// All that is read.
    pub(super) fn all(wanted: &Wanted) -> Vec<Resource> {
        let mut all = vec![
            Resource::new(Kind::Service, "", "v1", true),
            Resource::new(Kind::EndpointSlice, "discovery.k8s.io", "v1", true),
            Resource::new(Kind::Namespace, "", "v1", true),
            Resource::new(Kind::ServiceImport, "multicluster.x-k8s.io", "v1alpha1", false),
        ];
        if !wanted.names_only {
            all.push(Resource::new(Kind::Node, "", "v1", true));
            all.push(Resource::new(Kind::NetworkPolicy, "networking.k8s.io", "v1", false));
            all.push(Resource::new(Kind::ServiceCidr, "networking.k8s.io", "v1", false));
        }
        let fields = match &wanted.pods {
            Pods::None => return all,
            Pods::OfNode(node) => format!("&fieldSelector=spec.nodeName%3D{}", escape(node)),
            Pods::All => String::new(),
        };
        all.push(Resource { fields, ..Resource::new(Kind::Pod, "", "v1", false) });
        all
    }

    /// `services`, or `endpointslices.discovery.k8s.io`, as RBAC's tools write it.
    pub(super) fn name(&self) -> String {
        match self.group {
            "" => self.kind.plural().to_owned(),
            group => format!("{}.{group}", self.kind.plural()),
        }
    }

    /// The path of the collection.
    pub(super) fn path(&self) -> String {
        let (version, plural) = (self.version, self.kind.plural());
        match self.group {
            "" => format!("/api/{version}/{plural}"),
            group => format!("/apis/{group}/{version}/{plural}"),
        }
    }

    /// A page of a list, behind the one that gave `next`. Without a version: the newest there is, so that a
    /// server that lags behind another never takes us back.
    ///
    /// A limit of 0 is none: all of it in one page.
    pub(super) fn page(&self, limit: u32, next: Option<&str>) -> String {
        let next = next.map(|next| format!("&continue={}", escape(next))).unwrap_or_default();
        format!("{}?limit={limit}{next}{}", self.path(), self.fields)
    }

    /// A list of this object alone.
    pub(super) fn only(&self, name: &ObjectName) -> String {
        let (path, plural) = (self.path(), self.kind.plural());
        let path = match &*name.namespace {
            "" => path,
            namespace => format!("{}namespaces/{namespace}/{plural}", path.trim_end_matches(plural)),
        };
        format!("{path}?limit=1&fieldSelector=metadata.name%3D{}", escape(&name.name))
    }

    /// A watch that begins with what there is, the newest.
    pub(super) fn stream(&self, seconds: u64) -> String {
        format!(
            "{}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true\
             &timeoutSeconds={seconds}{}",
            self.path(),
            self.fields
        )
    }

    /// A watch of what changes after this version.
    pub(super) fn watch(&self, version: &str, seconds: u64) -> String {
        format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}{}",
            self.path(),
            escape(version),
            self.fields
        )
    }
}

/// A value of a query, or a part of a path.
pub(super) fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
