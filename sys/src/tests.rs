//! Maps of the real kernel: these tests need root, as all that bpf(2) does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where its ground is missing")]

use super::*;
use std::os::fd::AsFd;

fn map(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> Map {
    #[repr(C)]
    #[derive(Default)]
    struct Create {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
    }
    let mut attr = Create { kind, key, value, entries, flags };
    let fd = bpf(0, &mut attr).expect("BPF_MAP_CREATE needs root");
    // SAFETY: a new descriptor of ours.
    Map::from_fd(unsafe { OwnedFd::from_raw_fd(fd as i32) }).unwrap()
}

#[test]
fn a_hash_keeps_what_is_put_and_refuses_what_does_not_fit() {
    let m = map(1, 4, 8, 2, 1);
    assert!(m.put_new(&[1; 4], &[1; 8]).unwrap());
    assert!(!m.put_new(&[1; 4], &[2; 8]).unwrap());
    m.put(&[2; 4], &[2; 8]).unwrap();
    assert_eq!(m.put(&[3; 4], &[3; 8]).unwrap_err().raw_os_error(), Some(libc::E2BIG));
    assert_eq!(m.entries().unwrap(), [(vec![1; 4], vec![1; 8]), (vec![2; 4], vec![2; 8])]);
    assert!(m.remove(&[1; 4]).unwrap());
    assert!(!m.remove(&[1; 4]).unwrap());
    assert_eq!(m.get(&[1; 4]).unwrap(), None);
    assert!(m.put(&[1; 5], &[1; 8]).is_err(), "a key of another size is refused before the kernel reads it");
    assert!(m.put(&[1; 4], &[1; 7]).is_err());
}

#[test]
fn a_walk_tells_every_entry_once_and_ends_at_the_beginning() {
    let m = map(1, 4, 8, 5000, 1);
    let mut cursor = Cursor::default();
    m.batch(&mut cursor, 64, |_, _| panic!("it is empty")).unwrap();
    assert!(cursor.is_at_beginning());
    for key in 0..3000_u32 {
        m.put(&key.to_ne_bytes(), &(u64::from(key) * 7).to_ne_bytes()).unwrap();
    }
    let mut told = Vec::new();
    for walk in 1..=2 {
        let mut batches = 0;
        loop {
            m.batch(&mut cursor, 64, |key, value| {
                let key = u32::from_ne_bytes(key.try_into().unwrap());
                assert_eq!(value, (u64::from(key) * 7).to_ne_bytes());
                told.push(key);
            })
            .unwrap();
            batches += 1;
            if cursor.is_at_beginning() {
                break;
            }
        }
        assert!(batches > 40, "{batches}");
        told.sort_unstable();
        assert!(told.chunks(walk).map(|same| same[0]).eq(0..3000), "walk {walk}");
    }
    assert!(Map::array(8, 4).unwrap().batch(&mut cursor, 4, |_, _| {}).is_ok());
}

#[test]
fn a_mapped_array_shows_the_kernel_what_was_stored() {
    const MMAPABLE: u32 = 1 << 10;
    let mut m = Mapped::new(map(2, 4, 40, 20_000, MMAPABLE));
    assert_eq!(m.mapped_bytes(), 0);
    for index in [0usize, 6553, 6554, 19_999] {
        let offset = index * 40;
        m.reach(offset, 40).unwrap();
        m.store(offset, &[index as u8; 40]);
        let seen = m.map().get(&(index as u32).to_ne_bytes()).unwrap().unwrap();
        assert_eq!(seen, [index as u8; 40], "element {index}, which may stand across two windows");
    }
    assert!(m.reach(20_000 * 40, 1).is_err());
    m.store32(1 << 30, 1);
    assert_eq!(m.load32(1 << 30), 0);
    assert_eq!(m.load32(2), 0, "not aligned");
    assert!(m.mapped_bytes() <= 20_000 * 40 + 4096);
}

#[test]
fn a_grace_period_ends() {
    let rcu = Rcu::new().unwrap();
    rcu.grace_period().unwrap();
    rcu.grace_period().unwrap();
}

#[test]
fn what_is_no_link_has_no_link_info() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(link_info(file.as_fd()).is_err());
}
