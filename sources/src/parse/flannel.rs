//! What flannel writes on a Node, in annotations: `--kube-subnet-mgr` with its usual `--kube-annotation-prefix`.

use std::net::IpAddr;

use serde::Deserialize;

use super::fields::{Field, Read};
use super::object::Metadata;
use bowline_cluster::intern::Strings;
use bowline_cluster::object::{Family, Flannel, FlannelEnd};

const BACKEND: &str = "flannel.alpha.coreos.com/backend-type";
const V4: [&str; 2] = ["flannel.alpha.coreos.com/public-ip", "flannel.alpha.coreos.com/backend-data"];
const V6: [&str; 2] = ["flannel.alpha.coreos.com/public-ipv6", "flannel.alpha.coreos.com/backend-v6-data"];

/// `backend-data` of VXLAN. Old ones don't say the identifier.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(default, rename = "VNI")]
    vni: u32,
    #[serde(rename = "VtepMAC")]
    mac: String,
}

pub(super) fn read(metadata: &Metadata<'_, '_, '_>, strings: &Strings) -> Read<Option<Box<Flannel>>> {
    let Some(annotations) = metadata.field.map_at("annotations")? else { return Ok(None) };
    let Some(backend) = annotations.shared_at(BACKEND, strings)? else { return Ok(None) };
    let is_vxlan = backend == "vxlan";
    let v4 = end(&annotations, V4, Family::V4, is_vxlan)?;
    let v6 = end(&annotations, V6, Family::V6, is_vxlan)?;
    Ok(Some(Box::new(Flannel { backend, v4, v6 })))
}

/// None where the node has no such end, or none that can be understood: an API server takes any text here.
fn end(
    annotations: &Field<'_, '_, '_>,
    [address, data]: [&str; 2],
    family: Family,
    is_vxlan: bool,
) -> Read<Option<FlannelEnd>> {
    let Some(text) = annotations.text_at(address)? else { return Ok(None) };
    let wanted = format!("an {family} address");
    let Some(ip) = text.parse::<IpAddr>().ok().filter(|ip| Family::of(ip) == family) else {
        return annotations.unknown_at(address, text, &wanted, None, "flannel's pods of this node are not reached");
    };
    if !is_vxlan {
        return Ok(Some(FlannelEnd { address: ip, vxlan: None }));
    }
    let text = annotations.text_at(data)?.unwrap_or_default();
    let vxlan = serde_json::from_str::<Data>(text).ok().and_then(|data| Some((data.vni, mac(&data.mac)?)));
    if vxlan.is_none() {
        let wanted = r#"JSON like {"VNI":1,"VtepMAC":"0a:58:0a:f4:01:00"}"#;
        return annotations.unknown_at(data, text, wanted, None, "flannel's pods of this node are not reached");
    }
    Ok(Some(FlannelEnd { address: ip, vxlan }))
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2));
    let mac = [bytes.next()??, bytes.next()??, bytes.next()??, bytes.next()??, bytes.next()??, bytes.next()??];
    bytes.next().is_none().then_some(mac)
}
