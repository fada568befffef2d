//! The configuration of a network, as a runtime gives it to a plugin.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::error::CniError;
use crate::fields::{Field, FieldError, list_of};
use crate::names::{is_id, is_interface_name};
use crate::result::Dns;
use crate::runtime::RuntimeConfig;
use crate::version::Version;

/// The configuration of a network. Keys are found in any case, `null` is no value, and keys that are not here are passed
/// over. As JSON it is spelled as CNI spells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Value")]
pub struct NetConf {
    /// The version that the answer is to have; 0.1.0 if there is none.
    pub cni_version: Version,
    /// The network's name.
    pub name: String,
    /// The plugin's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where the agent listens; None: [`crate::DEFAULT_SOCKET`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// The folder of tombstones; None: [`crate::DEFAULT_TOMBSTONES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tombstones: Option<String>,
    /// How many seconds an ADD may take, 1 to 3600; None: as the plugin has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The interface's MTU in bytes, 68 to 65535; None: as the agent finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Name servers for the container.
    #[serde(skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
    /// Who gives addresses out; None: the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Ipam>,
    /// What the runtime may give in `runtimeConfig`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, bool>,
    /// What the runtime gives for this container.
    #[serde(skip_serializing_if = "RuntimeConfig::is_empty")]
    pub runtime_config: RuntimeConfig,
    /// `args`, unread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Value>,
    /// The result of the plugin before, or of the ADD; unread: [`crate::CniResult::from_json`] reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_result: Option<Value>,
    /// GC: what is to stay. None named: nothing is.
    #[serde(rename = "cni.dev/valid-attachments", skip_serializing_if = "Vec::is_empty")]
    pub valid_attachments: Vec<Attachment>,
}

/// The key `ipam`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipam {
    /// Its `type`: the plugin that gives addresses out; empty or `bowline`: the agent.
    pub kind: String,
    /// The whole value, unread.
    pub config: Value,
}

impl Ipam {
    /// Whether another plugin than ours gives the addresses out.
    pub fn is_delegated(&self) -> bool {
        !matches!(&*self.kind, "" | "bowline")
    }
}

impl Serialize for Ipam {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.config.serialize(serializer)
    }
}

/// An interface of a container: what ADD makes and DEL takes back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface's name in it.
    pub ifname: String,
}

impl NetConf {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Code 1 for a version that we don't speak, 7 for a field that is missing or wrong; the message names it.
    pub fn from_json(json: &Value) -> Result<NetConf, CniError> {
        let mut conf = NetConf::for_removal(json)?;
        conf.read_rest(&Field::whole(json)).map_err(|error| CniError::config(&error))?;
        Ok(conf)
    }

    /// Reads of a configuration what a removal needs; the rest stays empty. What ADD has refused must not be refused by
    /// DEL for the same reason, or the container could never be removed.
    ///
    /// # Errors
    /// As [`NetConf::from_json`].
    pub fn for_removal(json: &Value) -> Result<NetConf, CniError> {
        let whole = Field::whole(json);
        let config = |error: FieldError| CniError::config(&error);
        let version = version_of(&whole)?;
        let name = whole.need("name").map_err(config)?;
        let name_text = name.text().map_err(config)?;
        if !is_id(name_text) {
            let rule = "a network's name: letters, digits, '_', '.' and '-', the first a letter or digit, 200 at most";
            return Err(config(name.is_not(rule)));
        }
        NetConf::essence(&whole, version, name_text.to_owned()).map_err(config)
    }

    fn essence(whole: &Field<'_>, cni_version: Version, name: String) -> Result<NetConf, FieldError> {
        let path = |name: &str| {
            let path = whole.get(name)?.filter(|field| field.value().as_str() != Some(""));
            let check = |field: Field<'_>| match field.text()? {
                text if text.starts_with('/') => Ok(text.to_owned()),
                _ => Err(field.is_not("a path from the root")),
            };
            path.map(check).transpose()
        };
        let ipam = whole.get("ipam")?.map(|ipam| {
            let kind = ipam.get("type")?.map(|kind| kind.text()).transpose()?.unwrap_or_default().to_owned();
            Ok(Ipam { kind, config: ipam.value().clone() })
        });
        Ok(NetConf {
            cni_version,
            name,
            kind: whole.get("type")?.map(|kind| kind.text()).transpose()?.unwrap_or_default().to_owned(),
            socket: path("socket")?,
            tombstones: path("tombstones")?,
            timeout: whole.get("timeout")?.map(|field| field.number(1, 3600, "a number of seconds")).transpose()?,
            mtu: None,
            dns: Dns::default(),
            ipam: ipam.transpose()?,
            capabilities: BTreeMap::new(),
            runtime_config: RuntimeConfig::default(),
            args: None,
            prev_result: None,
            valid_attachments: Vec::new(),
        })
    }

    fn read_rest(&mut self, whole: &Field<'_>) -> Result<(), FieldError> {
        // 0 is what Go writes for "none".
        let mtu = whole.get("mtu")?.filter(|field| field.value().as_u64() != Some(0));
        self.mtu = mtu.map(|field| field.number(68, 65535, "an MTU")).transpose()?;
        self.dns = whole.get("dns")?.map(|field| Dns::read(&field)).transpose()?.unwrap_or_default();
        if let Some(field) = whole.get("capabilities")? {
            for (name, value) in field.object()? {
                let flag = Field::at(&field.path_of(name), value).flag()?;
                self.capabilities.insert(name.clone(), flag);
            }
        }
        let runtime = whole.get("runtimeConfig")?.map(|field| RuntimeConfig::read(&field, &self.name));
        self.runtime_config = runtime.transpose()?.unwrap_or_default();
        self.args = whole.get("args")?.map(|field| field.value().clone());
        let prev_result = whole.get("prevResult")?;
        prev_result.as_ref().map(Field::object).transpose()?;
        self.prev_result = prev_result.map(|field| field.value().clone());
        // The first libcni with GC spelled the key as the specification's text did by mistake (containernetworking/cni#1101).
        if let Some(list) = whole.get_either(&["cni.dev/valid-attachments", "cni.dev/attachments"])? {
            self.valid_attachments = list.list()?.map(|one| attachment(&one)).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Where the agent listens.
    pub fn socket(&self) -> &str {
        self.socket.as_deref().unwrap_or(crate::DEFAULT_SOCKET)
    }

    /// The folder of tombstones.
    pub fn tombstones(&self) -> &str {
        self.tombstones.as_deref().unwrap_or(crate::DEFAULT_TOMBSTONES)
    }

    /// How long an ADD may take, if the configuration says so.
    pub fn add_timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }
}

/// The configuration's version; without the key it is 0.1.0, as libcni has it.
fn version_of(whole: &Field<'_>) -> Result<Version, CniError> {
    let field = whole.get("cniVersion").map_err(|error| CniError::config(&error))?;
    let text = field.map(|field| field.text()).transpose().map_err(|error| CniError::config(&error))?;
    let text = text.filter(|text| !text.is_empty()).unwrap_or(Version::V0_1_0.as_str());
    text.parse().map_err(|error| CniError::new(CniError::INCOMPATIBLE_VERSION, format!("configuration: {error}")))
}

fn attachment(field: &Field<'_>) -> Result<Attachment, FieldError> {
    let (id, ifname) = (field.need("containerID")?, field.need("ifname")?);
    let (container_id, name) = (id.text()?.to_owned(), ifname.text()?.to_owned());
    if !is_id(&container_id) {
        return Err(id.is_not("a container's id"));
    }
    if !is_interface_name(&name) {
        return Err(ifname.is_not("an interface's name"));
    }
    Ok(Attachment { container_id, ifname: name })
}

impl TryFrom<Value> for NetConf {
    type Error = CniError;

    fn try_from(json: Value) -> Result<NetConf, CniError> {
        NetConf::from_json(&json)
    }
}

impl Dns {
    /// Reads `dns` of a configuration or a result, or of `runtimeConfig`, where containerd's keys are others.
    pub(crate) fn read(field: &Field<'_>) -> Result<Dns, FieldError> {
        let texts = |names: &[&str]| match field.get_either(names)? {
            Some(list) => list.texts(),
            None => Ok(Vec::new()),
        };
        Ok(Dns {
            nameservers: texts(&["nameservers", "servers"])?,
            domain: field.get("domain")?.map(|one| one.text()).transpose()?.unwrap_or_default().to_owned(),
            search: texts(&["search", "searches"])?,
            options: list_of(field, "options", |one| one.text().map(str::to_owned))?,
        })
    }
}

#[cfg(test)]
mod tests;
