//! Catalog zones (RFC 9432): a zone that lists zones, each below `zones` with a label of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::wire::{Name, Type};
use crate::zone::{Copying, Zone};

/// A zone that a catalog lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its label in the catalog, in lower case: another label means that nothing of the old zone counts.
    pub(super) id: Vec<u8>,
    /// Its name.
    pub(super) zone: Name,
    /// The catalog that may take it over (§4.3.1, `coo`).
    pub(super) new_owner: Option<Name>,
}

/// Why a zone is no catalog.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CatalogError(String);

impl From<String> for CatalogError {
    fn from(message: String) -> CatalogError {
        CatalogError(message)
    }
}

impl From<&str> for CatalogError {
    fn from(message: &str) -> CatalogError {
        CatalogError(message.to_owned())
    }
}

/// The members of a catalog, by their names.
///
/// # Errors
/// It is no catalog of version 2, or lists a zone twice (§4.1, §5.1).
pub(super) fn members(catalog: &Arc<Zone>) -> Result<Vec<Member>, CatalogError> {
    let origin = catalog.origin();
    let below = |label: &str| origin.prepend(label.as_bytes()).map_err(|error| error.to_string());
    let (version, zones) = (below("version")?, below("zones")?);
    let mut versions = Vec::new();
    let (mut listed, mut owners) = (BTreeMap::<Vec<u8>, Vec<Name>>::new(), BTreeMap::<Vec<u8>, Vec<Name>>::new());
    for record in Copying::new(catalog.clone()) {
        if record.rtype == Type::TXT && record.name == version {
            versions.push(record.data.to_txt().unwrap_or_default().concat());
        }
        let Some(target) = record.data.to_name().filter(|_| record.rtype == Type::PTR) else { continue };
        let Some(front) = record.name.before(&zones) else { continue };
        let name = Name::join(front, &Name::root()).unwrap_or_default().to_lower();
        match name.labels().collect::<Vec<_>>().as_slice() {
            [id] => listed.entry(id.to_vec()).or_default().push(target.to_lower()),
            [b"coo", id] => owners.entry(id.to_vec()).or_default().push(target.to_lower()),
            _ => {}
        }
    }
    if versions.len() != 1 || versions.first().is_none_or(|version| version != b"2") {
        return Err(format!("{origin} is no catalog: {version} must have one TXT record, \"2\"").into());
    }
    let mut members: Vec<Member> = Vec::new();
    for (id, zones) in listed {
        let ([zone], shown) = (zones.as_slice(), String::from_utf8_lossy(&id)) else {
            return Err(
                format!("{origin}: the member {} lists more than one zone", String::from_utf8_lossy(&id)).into()
            );
        };
        if let Some(other) = members.iter().find(|member| member.zone == *zone) {
            let other = String::from_utf8_lossy(&other.id);
            return Err(format!("{origin}: {zone} is listed twice, as {other} and as {shown}").into());
        }
        let new_owner = match owners.get(&id).map_or(&[][..], Vec::as_slice) {
            [] => None,
            [owner] => Some(owner.clone()),
            _ => return Err(format!("{origin}: the member {shown} has more than one new owner").into()),
        };
        members.push(Member { zone: zone.clone(), id, new_owner });
    }
    members.sort_by(|a, b| a.zone.cmp(&b.zone));
    Ok(members)
}

#[cfg(test)]
mod tests;
