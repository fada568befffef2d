//! What a pod's wire costs at least: a CNI plugin that does nothing but ask the kernel for it, in one process. It checks
//! nothing, remembers nothing, and its addresses come from the caller, in CNI_ARGS: `V4,V6`. `make bench-cni` has its times
//! beside ours.

use std::error::Error;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd as _;

use bowline_net::{Neighbour, Net, Route, Veth};

const HOST_MAC: [u8; 6] = [0xb2, 0, 0, 0, 0, 1];
const POD_MAC: [u8; 6] = [0xb6, 0, 0, 0, 0, 1];

fn main() -> Result<(), Box<dyn Error>> {
    let (command, id) = (std::env::var("CNI_COMMAND")?, std::env::var("CNI_CONTAINERID")?);
    let link = format!("fl{id}");
    let net = Net::open()?;
    if command == "DEL" {
        let found = net.link(&link)?;
        return Ok(found.map_or(Ok(()), |found| net.remove(found.index))?);
    }
    let addresses: Vec<IpAddr> = std::env::var("CNI_ARGS")?.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let ifname = std::env::var("CNI_IFNAME")?;
    let netns = File::open(std::env::var("CNI_NETNS")?)?;
    net.add_veth(&Veth {
        name: &link,
        mac: HOST_MAC,
        alias: &id,
        peer: &ifname,
        peer_mac: POD_MAC,
        netns: netns.as_fd(),
        mtu: 1500,
    })?;
    let device = net.link(&link)?.ok_or("it is gone")?.index;
    let to_pod: Vec<Neighbour> =
        addresses.iter().map(|address| Neighbour { device, address: *address, mac: POD_MAC }).collect();
    net.put_neighbours(&to_pod)?;
    net.put_routes(&addresses.iter().map(|address| Route::on(device, (*address).into())).collect::<Vec<_>>())?;
    let pod = Net::open_in(netns.as_fd())?;
    let device = pod.link(&ifname)?.ok_or("the container's interface is gone")?.index;
    pod.add_addresses(device, &addresses)?;
    pod.set_up(device, "")?;
    for address in &addresses {
        let (hop, everything) = if address.is_ipv4() { ("169.254.1.1", "0.0.0.0/0") } else { ("fe80::1", "::/0") };
        let hop: IpAddr = hop.parse()?;
        pod.put_neighbours(&[Neighbour { device, address: hop, mac: HOST_MAC }])?;
        pod.put_routes(&[Route::on(device, everything.parse()?).via(hop)])?;
    }
    // Until then the kernel drops what goes to the pod.
    while !net.link(&link)?.is_some_and(|link| link.is_running) {}
    println!("{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"{}/32\"}}]}}", addresses[0]);
    Ok(())
}
