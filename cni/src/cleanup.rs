//! Takes away what was installed for pods' network on a node, and nothing else's. Pods that run keep their wires and their
//! addresses until their runtime ends them: their interfaces go with their namespaces.

use std::fs;
use std::io;
use std::path::Path;

use bowline_net::{BOWLINE, Net};

use crate::attachment;
use crate::peers::is_ours;
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
    let is_wire = |index: u32| links.iter().any(|link| link.index == index && attachment::is_wire(link));
    let routes = net.routes().map_err(io::Error::other)?;
    for route in &routes {
        let is_ours = route.protocol == BOWLINE && !is_wire(route.device);
        if is_ours && net.remove_route(route).map_err(io::Error::other)? {
            note(Ok(format!("route to {}", route.to)));
        }
    }
    for link in links.iter().filter(|link| is_ours(link)) {
        // Flannel, back on this node, has taken it over by now.
        if routes.iter().any(|route| route.device == link.index && route.protocol != BOWLINE && route.via.is_some()) {
            continue;
        }
        net.remove(link.index).map_err(io::Error::other)?;
        note(Ok(format!("interface {}", link.name)));
    }
    for link in links.iter().filter(|link| link.kind == "bridge") {
        for proxy in net.proxies(link.index).map_err(io::Error::other)? {
            let is_pods = routes.iter().any(|route| route.to == proxy.address.into() && is_wire(route.device));
            if is_pods && net.remove_proxy(&proxy).map_err(io::Error::other)? {
                note(Ok(format!("answers for {} on {}", proxy.address, link.name)));
            }
        }
    }
    let wires = links.iter().filter(|link| attachment::is_wire(link));
    Ok(wires.filter(|link| link.alias.starts_with("bowline ")).count())
}
