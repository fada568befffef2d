//! The shape of the maps, and the version that stands for it.

use super::*;
use crate::describe::{ABSENT, Description};

/// The shape of all records: what [`VERSION`] stands for.
const TOLD: &str = "\
version 3
 0 FrontendKey: 20 bytes
 1   address: [u32; 4] at 0
 2   port: u16 at 16
 3   protocol: u8 at 18
 4 Frontend: 4 bytes
 5   service: u32 at 0
 6 Service: 32 bytes
 7   cluster: u64 at 0
36   local: u64 at 8
 8   turn: u64 at 16
35   stand_in: u64 at 24
 9 Backend: 32 bytes
10   endpoint: Endpoint at 0
11   service: u32 at 20
12   life: u32 at 24
13 AffinityKey: 16 bytes
14   client: u64 at 0
15   service: u32 at 8
16 Affinity: 16 bytes
17   used: u64 at 0
18   backend: u32 at 8
19   life: u32 at 12
20 SocketKey: 32 bytes
21   cookie: u64 at 0
22   peer: Endpoint at 8
23   service: u32 at 28
24 Translation: 76 bytes
25   vip: Endpoint at 0
26   backend: Endpoint at 20
27   previous: Endpoint at 40
28   service: u32 at 60
29   backend_id: u32 at 64
30   life: u32 at 68
31   next: u32 at 72
32 Name: 204 bytes
33   length: u32 at 0
34   text: [u8; NAME_BYTES] at 4";

#[test]
fn a_record_that_changes_has_a_new_version() {
    let shape = format!("version {VERSION}\n{}", shape());
    if cfg!(feature = "layout-next") {
        assert_ne!(shape, TOLD, "the twin is no other layout");
        return;
    }
    assert!(
        shape == TOLD,
        "A record of the maps is not what its version says. Agents of the last build have maps of the old shape under \
         that version, and the new one's would read them as their own. So give VERSION in layout.rs the next number, \
         never a field's number to another field, and write this to TOLD above:\n{shape}"
    );
}

#[test]
fn every_entry_is_described_and_no_other() {
    let there = Description::OURS.fields.iter().filter(|entry| **entry != ABSENT).count();
    assert_eq!(there, ENTRIES.len());
    for (field, at) in ENTRIES {
        assert_eq!(usize::from(Description::OURS.at(*field)), *at, "{field:?}");
    }
}
