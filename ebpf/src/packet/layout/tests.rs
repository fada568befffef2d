//! The shape of the records, and the version that stands for it.

use super::*;

const TOLD: &str = "\
version 2
Veth: 32 bytes
  v6: Address at 0
  v4: u32 at 16
  mac: Mac at 20
  pad: u16 at 26
  flags: u32 at 28
Local: 20 bytes
  index: u32 at 0
  mtu: u16 at 4
  flags: u16 at 6
  mac: Mac at 8
  host_mac: Mac at 14
Link: 20 bytes
  v6: Address at 0
  v4: u32 at 16
HostPortKey: 20 bytes
  address: Address at 0
  port: u16 at 16
  protocol: u8 at 18
  pad: u8 at 19
Target: 20 bytes
  address: Address at 0
  port: u16 at 16
  pad: u16 at 18
Tuple: 40 bytes
  source: Address at 0
  destination: Address at 16
  source_port: u16 at 32
  destination_port: u16 at 34
  protocol: u8 at 36
  pad: [u8; 3] at 37
Flow: 56 bytes
  to: Tuple at 0
  seen: u64 at 40
  flags: u32 at 48
  made: u32 at 52
Datagram: 40 bytes
  source: Address at 0
  destination: Address at 16
  id: u32 at 32
  protocol: u8 at 36
  pad: [u8; 3] at 37
Ports: 4 bytes
  source: u16 at 0
  destination: u16 at 2";

#[test]
fn a_record_that_changes_has_a_new_version() {
    let shape = format!("version {VERSION}\n{}", shape());
    assert!(
        shape == TOLD,
        "A record of the packets' maps is not what its version says. Give VERSION in packet/layout.rs the next number, and \
         write this to TOLD above:\n{shape}"
    );
}

#[test]
fn records_are_read_as_they_were_written() {
    let local = Local { index: 7, mtu: 1450, flags: HAS_QUEUE, mac: [1, 2, 3], host_mac: [4, 5, 6] };
    assert_eq!(Local::from_bytes(&local.to_bytes()), local);
    let veth = Veth { v6: [1, 2, 3, 4], v4: 5, mac: [6, 7, 8], pad: 0, flags: HOST_PORTS };
    assert_eq!(Veth::from_bytes(&veth.to_bytes()), veth);
    assert_eq!(Veth::from_bytes(&[]), Veth::default());
}
