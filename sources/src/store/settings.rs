//! What holds for the whole cluster: the pools from which is given. It is stored once, by the first who
//! needs it; from then on the stored one counts, whatever flags say.

use std::ops::RangeInclusive;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use bowline_cluster::object::Family;

/// The pools of a cluster. Fields as `<prefix>/cluster` writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Ranges of Service addresses, at most one a family; the first is the default family's.
    #[serde(rename = "serviceClusterIPRange", with = "ranges")]
    pub service_cluster_ip_range: Vec<IpNet>,
    /// Ranges of which nodes get theirs, at most one a family.
    #[serde(rename = "clusterCIDR", with = "ranges")]
    pub cluster_cidr: Vec<IpNet>,
    /// Bits of a node's IPv4 range.
    #[serde(rename = "nodeCIDRMaskSizeIPv4")]
    pub node_cidr_mask_size_ipv4: u8,
    /// Bits of a node's IPv6 range.
    #[serde(rename = "nodeCIDRMaskSizeIPv6")]
    pub node_cidr_mask_size_ipv6: u8,
    /// The node ports, first and last: `30000-32767`.
    #[serde(with = "ports")]
    pub node_port_range: RangeInclusive<u16>,
}

impl Default for Settings {
    /// 10.96.0.0/12 and fd00:10:96::/112 for Services, 10.244.0.0/16 by /24 and fd00:10:244::/48 by /64 for
    /// Pods, node ports 30000 to 32767.
    fn default() -> Settings {
        use std::net::{Ipv4Addr, Ipv6Addr};
        let v4 = |b, length| IpNet::new_assert(Ipv4Addr::new(10, b, 0, 0).into(), length);
        let v6 = |c, length| IpNet::new_assert(Ipv6Addr::new(0xfd00, 0x10, c, 0, 0, 0, 0, 0).into(), length);
        Settings {
            service_cluster_ip_range: vec![v4(96, 12), v6(0x96, 112)],
            cluster_cidr: vec![v4(244, 16), v6(0x244, 48)],
            node_cidr_mask_size_ipv4: 24,
            node_cidr_mask_size_ipv6: 64,
            node_port_range: 30_000..=32_767,
        }
    }
}

impl Settings {
    /// How many bits a node's range of this family has.
    pub fn mask_size(&self, family: Family) -> u8 {
        match family {
            Family::V4 => self.node_cidr_mask_size_ipv4,
            Family::V6 => self.node_cidr_mask_size_ipv6,
        }
    }

    /// What is wrong with them, and what to write.
    ///
    /// # Errors
    /// Names the flag that sets what is wrong.
    pub fn check(&self) -> Result<(), String> {
        for (ranges, flag) in
            [(&self.service_cluster_ip_range, "--service-cluster-ip-range"), (&self.cluster_cidr, "--cluster-cidr")]
        {
            let families: Vec<Family> = ranges.iter().map(|range| Family::of(&range.addr())).collect();
            if families.len() > 2 || (families.len() == 2 && families[0] == families[1]) {
                return Err(format!("{flag} has two ranges of one family; write at most one of each"));
            }
        }
        for pool in &self.cluster_cidr {
            let family = Family::of(&pool.addr());
            let mask = self.mask_size(family);
            if mask < pool.prefix_len() || mask > pool.max_prefix_len() {
                let digit = if family == Family::V4 { 4 } else { 6 };
                return Err(format!(
                    "--node-cidr-mask-size-ipv{digit} {mask} does not fit the pool {pool}; write from {} to {}",
                    pool.prefix_len(),
                    pool.max_prefix_len()
                ));
            }
        }
        if self.node_port_range.is_empty() || *self.node_port_range.start() == 0 {
            return Err("--service-node-port-range is empty; write like 30000-32767".to_string());
        }
        Ok(())
    }

    /// What these say otherwise than `stored`, which is what counts: a line each.
    pub fn differences(&self, stored: &Settings) -> Vec<String> {
        let text = |settings: &Settings| {
            let list = |ranges: &[IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            [
                ("--service-cluster-ip-range", list(&settings.service_cluster_ip_range)),
                ("--cluster-cidr", list(&settings.cluster_cidr)),
                ("--node-cidr-mask-size-ipv4", settings.node_cidr_mask_size_ipv4.to_string()),
                ("--node-cidr-mask-size-ipv6", settings.node_cidr_mask_size_ipv6.to_string()),
                ("--service-node-port-range", ports::text(&settings.node_port_range)),
            ]
        };
        let pairs = text(self).into_iter().zip(text(stored));
        pairs
            .filter(|(ours, theirs)| ours != theirs)
            .map(|((flag, ours), (_, theirs))| {
                format!("{flag} {ours} does not count: the cluster has {theirs} since it was set up")
            })
            .collect()
    }
}

impl Store {
    /// What the cluster has; where it has none yet, `wanted` is stored.
    ///
    /// # Errors
    /// etcd can't be reached, or what is stored is no settings.
    pub async fn settings(&self, wanted: &Settings) -> Result<Settings, StoreError> {
        let key = self.keys().cluster();
        wanted.check().map_err(|message| StoreError::Refused(vec![super::Refusal::new("", message)]))?;
        let value = serde_json::json!(wanted).to_string();
        let (answer, _) = self
            .call(|client| {
                let txn = Txn::new()
                    .when([Compare::version(key.clone(), CompareOp::Equal, 0)])
                    .and_then([TxnOp::put(key.clone(), value.clone(), None)])
                    .or_else([TxnOp::get(key.clone(), None)]);
                async move { super::kv(&client).txn(txn).await }
            })
            .await?;
        if answer.succeeded() {
            return Ok(wanted.clone());
        }
        let stored = super::commit::values(&answer).into_iter().next().flatten().unwrap_or_default();
        read(&key, &stored.value)
    }
}

/// What stands at the key of the settings.
pub(super) fn read(key: &str, value: &[u8]) -> Result<Settings, StoreError> {
    let stored = |reason: String| StoreError::Stored { key: key.to_string(), reason };
    let settings: Settings =
        serde_json::from_slice(value).map_err(|error| stored(format!("is no settings of a cluster: {error}")))?;
    settings.check().map_err(stored)?;
    Ok(settings)
}

/// A range of ports as `30000-32767`.
pub(super) mod ports {
    use std::ops::RangeInclusive;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::store) fn text(range: &RangeInclusive<u16>) -> String {
        format!("{}-{}", range.start(), range.end())
    }

    pub(super) fn serialize<S: Serializer>(range: &RangeInclusive<u16>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(range))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<RangeInclusive<u16>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
        parsed.ok_or_else(|| D::Error::custom(format!("{text:?} is no range of ports, like 30000-32767")))
    }
}

/// A list of ranges of addresses as strings.
mod ranges {
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(ranges: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        ranges.iter().map(ToString::to_string).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let one = |text: String| {
            text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no range of addresses, like 10.96.0.0/12")))
        };
        Vec::<String>::deserialize(deserializer)?.into_iter().map(one).collect()
    }
}
