//! Kinds as people write them (`services`, `svc`, `Service`, `widgets.example.com`), and where their objects
//! stand in etcd.
//!
//! Kubernetes' own kinds are in a table. Any other kind may be stored too: it belongs to namespaces, its
//! plural is guessed as Kubernetes guesses it, and its folder bears its group, so that no two kinds share
//! one.

use std::borrow::Cow;

use serde_json::Value;

use bowline_cluster::object::Kind;

#[cfg(test)]
mod tests;

/// What kind of object, and where those of its kind stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// `kind`; empty where only the plural is known.
    pub kind: Cow<'static, str>,
    /// The group of the `apiVersion`; empty for core.
    pub group: Cow<'static, str>,
    /// As paths of the API write it: `services`.
    pub plural: Cow<'static, str>,
    /// What people may write too.
    pub short: &'static [&'static str],
    /// Whether its objects belong to namespaces.
    pub namespaced: bool,
    /// Whether it is one of Kubernetes' own.
    known: bool,
}

/// Group, kind, plural, short names, and whether it belongs to namespaces.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str], bool);

const KNOWN: &[Row] = &[
    ("", "Service", "services", &["svc"], true),
    ("", "Pod", "pods", &["po"], true),
    ("", "Node", "nodes", &["no"], false),
    ("", "Namespace", "namespaces", &["ns"], false),
    ("", "ConfigMap", "configmaps", &["cm"], true),
    ("", "Secret", "secrets", &[], true),
    ("", "Endpoints", "endpoints", &["ep"], true),
    ("", "Event", "events", &["ev"], true),
    ("", "LimitRange", "limitranges", &["limits"], true),
    ("", "PersistentVolume", "persistentvolumes", &["pv"], false),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], true),
    ("", "PodTemplate", "podtemplates", &[], true),
    ("", "ReplicationController", "replicationcontrollers", &["rc"], true),
    ("", "ResourceQuota", "resourcequotas", &["quota"], true),
    ("", "ServiceAccount", "serviceaccounts", &["sa"], true),
    ("bowline.dev", "PodAddresses", "podaddresses", &[], true),
    ("apps", "ControllerRevision", "controllerrevisions", &[], true),
    ("apps", "DaemonSet", "daemonsets", &["ds"], true),
    ("apps", "Deployment", "deployments", &["deploy"], true),
    ("apps", "ReplicaSet", "replicasets", &["rs"], true),
    ("apps", "StatefulSet", "statefulsets", &["sts"], true),
    ("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], true),
    ("batch", "CronJob", "cronjobs", &["cj"], true),
    ("batch", "Job", "jobs", &[], true),
    ("coordination.k8s.io", "Lease", "leases", &[], true),
    ("discovery.k8s.io", "EndpointSlice", "endpointslices", &[], true),
    ("multicluster.x-k8s.io", "ServiceExport", "serviceexports", &["svcex"], true),
    ("multicluster.x-k8s.io", "ServiceImport", "serviceimports", &["svcim"], true),
    ("networking.k8s.io", "IPAddress", "ipaddresses", &["ip"], false),
    ("networking.k8s.io", "Ingress", "ingresses", &["ing"], true),
    ("networking.k8s.io", "IngressClass", "ingressclasses", &[], false),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies", &["netpol"], true),
    ("networking.k8s.io", "ServiceCIDR", "servicecidrs", &[], false),
    ("node.k8s.io", "RuntimeClass", "runtimeclasses", &[], false),
    ("policy", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], true),
    ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", &[], false),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", &[], false),
    ("rbac.authorization.k8s.io", "Role", "roles", &[], true),
    ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", &[], true),
    ("scheduling.k8s.io", "PriorityClass", "priorityclasses", &["pc"], false),
    ("storage.k8s.io", "StorageClass", "storageclasses", &["sc"], false),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], false),
];

fn known(row: &Row) -> Resource {
    let (group, kind, plural, short, namespaced) = *row;
    Resource { kind: kind.into(), group: group.into(), plural: plural.into(), short, namespaced, known: true }
}

impl Resource {
    /// What an object is.
    pub fn of(object: &Value) -> Resource {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        Resource::named(text("apiVersion"), text("kind"))
    }

    /// The resource of a kind.
    pub fn named(api_version: &str, kind: &str) -> Resource {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        if let Some(row) = KNOWN.iter().find(|row| (row.0, row.1) == (group, kind)) {
            return known(row);
        }
        Resource {
            kind: kind.to_string().into(),
            group: group.to_string().into(),
            plural: plural(kind).into(),
            short: &[],
            namespaced: true,
            known: false,
        }
    }

    /// Every resource of the table.
    pub fn known() -> impl Iterator<Item = Resource> {
        KNOWN.iter().map(known)
    }

    /// What a person means: a plural, a singular, a short name, with or without `.GROUP`. A kind that is
    /// not Kubernetes' own is written with its group.
    ///
    /// # Errors
    /// Nothing has that name; says what to write.
    pub fn parse(word: &str) -> Result<Resource, String> {
        let lower = word.to_lowercase();
        let (name, group) = lower.split_once('.').map_or((&*lower, None), |(name, group)| (name, Some(group)));
        // `services.v1.` and `deployments.v1.apps`, as kubectl takes them.
        let group = group.map(|group| match group.split_once('.') {
            Some((version, rest)) if is_version(version) => rest,
            None if is_version(group) => "",
            _ => group,
        });
        let fits = |row: &&Row| {
            (row.2 == name || row.1.to_lowercase() == name || row.3.contains(&name))
                && group.is_none_or(|group| group == row.0)
        };
        if let Some(row) = KNOWN.iter().find(fits) {
            return Ok(known(row));
        }
        match group {
            Some(group) if !group.is_empty() => Ok(Resource {
                kind: "".into(),
                group: group.to_string().into(),
                plural: name.to_string().into(),
                short: &[],
                namespaced: true,
                known: false,
            }),
            _ => Err(format!(
                "{word:?} is no kind that is known; write one like services, pods or nodes, and a kind that is not \
                 Kubernetes' own with its group, like widgets.example.com"
            )),
        }
    }

    /// The folder of its objects in etcd: the plural, with the group where the kind is not Kubernetes' own.
    pub fn folder(&self) -> String {
        if self.known || self.group.is_empty() {
            self.plural.clone().into_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// As messages name it: `service`, `deployment.apps`, as kubectl does.
    pub fn label(&self) -> String {
        let name = if self.kind.is_empty() { self.plural.clone().into_owned() } else { self.kind.to_lowercase() };
        if self.group.is_empty() { name } else { format!("{name}.{}", self.group) }
    }

    /// Whether agents read its objects; of others nothing comes.
    pub fn is_read(&self) -> bool {
        Kind::ALL.iter().any(|kind| self.is(kind.as_str()))
    }

    /// That there is no object of this name, as kubectl says it: `services "web"`, `deployments.apps "web"`.
    pub(super) fn missing(&self, name: &str) -> super::StoreError {
        let dot = if self.group.is_empty() { "" } else { "." };
        super::StoreError::NotFound(format!("{}{dot}{} \"{name}\"", self.plural, self.group))
    }

    /// Whether it is core/v1 or another of Kubernetes' own, of this kind.
    pub fn is(&self, kind: &str) -> bool {
        self.known && self.kind == kind
    }
}

/// `v1`, `v1beta1`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// As Kubernetes guesses it.
fn plural(kind: &str) -> String {
    let name = kind.to_lowercase();
    match name.strip_suffix('y') {
        _ if name.ends_with('s') => name + "es",
        Some(stem) => format!("{stem}ies"),
        None => name + "s",
    }
}
