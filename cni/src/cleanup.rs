//! Takes away what was installed for pods' network on a node, and nothing else's. Pods that run keep their wires and their
//! addresses until their runtime ends them: their interfaces go with their namespaces.

use std::fs;
use std::io;
use std::path::Path;

use bowline_net::{BOWLINE, Net};

use crate::attachment::PREFIX;
use crate::peers::TUNNEL;
use crate::{install, sysctls};

/// Takes away what an agent with this folder has left, in this thread's network namespace. Tells `note` of each, and goes
/// on after an error; there is none without such a folder.
pub fn cleanup(folder: &Path, mut note: impl FnMut(Result<String, String>)) {
    if !folder.exists() {
        return;
    }
    install::take_away(folder, |path, done| match done {
        Ok(()) => note(Ok(path.display().to_string())),
        Err(error) => note(Err(error.to_string())),
    });
    let pods = match ways(&mut note) {
        Ok(pods) => pods,
        Err(error) => {
            note(Err(format!("routes to pods: {error}")));
            1
        }
    };
    sysctls::give_back(folder, |setting| note(Ok(format!("setting, now {setting}"))));
    if pods > 0 {
        note(Ok(format!("all but the wires of {pods} pods that run: they go when those end")));
    } else if fs::remove_dir_all(folder).is_ok() {
        note(Ok(folder.display().to_string()));
    }
}

/// Routes to other nodes' pods, and the tunnels; says how many pods there are.
fn ways(note: &mut impl FnMut(Result<String, String>)) -> io::Result<usize> {
    let net = Net::open()?;
    let links = net.links().map_err(io::Error::other)?;
    let is_wire = |index: u32| links.iter().any(|link| link.index == index && link.name.starts_with(PREFIX));
    for route in net.routes().map_err(io::Error::other)? {
        let is_ours = route.protocol == BOWLINE && !is_wire(route.device);
        if is_ours && net.remove_route(&route).map_err(io::Error::other)? {
            note(Ok(format!("route to {}", route.to)));
        }
    }
    if let Some(link) = links.iter().find(|link| link.name == TUNNEL && link.alias.starts_with("bowline ")) {
        net.remove(link.index).map_err(io::Error::other)?;
        note(Ok(format!("interface {TUNNEL}")));
    }
    let wires = links.iter().filter(|link| link.name.starts_with(PREFIX) && link.kind == "veth");
    Ok(wires.filter(|link| link.alias.starts_with("bowline ")).count())
}
