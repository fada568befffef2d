//! What is planned, without a kernel.

use super::plan::narrower;
use super::write::is_same;
use super::*;

#[test]
fn a_narrow_way_is_told_less_what_the_tunnel_adds() {
    let of = |way: Option<u32>, is_v4: bool| narrower(way, OVERHEAD_V6, 1430, is_v4);
    assert_eq!(of(None, true), None);
    assert_eq!(of(Some(1500), true), None, "as the link has it");
    assert_eq!((of(Some(1400), true), of(Some(1400), false)), (Some(1330), Some(1330)));
    assert_eq!((of(Some(1280), true), of(Some(1280), false)), (Some(1210), Some(1280)), "no IPv6 below 1280");
    assert_eq!(narrower(Some(1400), 0, 0, true), None, "the link has just gone");
}

#[test]
fn a_route_keeps_the_least_that_was_told() {
    let route = |mtu: Option<u32>| Route { mtu, ..Route::on(1, IpNet::from(IpAddr::from([10, 244, 3, 0]))) };
    let stays = |there: Option<u32>, wanted: Option<u32>| is_same(&route(there), &route(wanted));
    assert!(stays(None, None) && stays(Some(1330), Some(1330)));
    assert!(stays(Some(1330), None), "the kernel has forgotten it");
    assert!(stays(Some(1330), Some(1350)) && !stays(Some(1350), Some(1330)) && !stays(None, Some(1330)));
}
