//! Programs at the packets of a device, by tcx and by XDP, on a real veth: they see every packet, are exchanged without
//! a gap, and are put back as they were when one of several can't be attached. Once more by filters, as on a kernel
//! without tcx.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its ground is missing")]

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bowline_dataplane::KernelError;
use bowline_dataplane::cleanup::cleanup;
use bowline_dataplane::links::{AttachPoint, Attachment, DeviceHook, attach, is_attached};
use bowline_dataplane::place::make_root;
use bowline_lab::{Host, Lab, Node, Pod, wait_for};
use bowline_sys::{Map, load_program};
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that counts packets and lets them pass.
struct Counter {
    program: OwnedFd,
    count: Map,
}

impl Counter {
    fn new(hook: DeviceHook, name: &str) -> Counter {
        // BPF_PROG_TYPE_XDP, XDP_PASS; BPF_PROG_TYPE_SCHED_CLS, TCX_NEXT.
        let (kind, pass) = if hook == DeviceHook::Xdp { (6, 2) } else { (3, -1) };
        let count = Map::array(8, 1).unwrap();
        let map = count.fd().as_raw_fd();
        // One instruction (linux/bpf.h, `struct bpf_insn`).
        let insn = |code: u8, to: u8, from: u8, offset: i16, value: i32| {
            u64::from(code)
                | u64::from(to | from << 4) << 8
                | u64::from(offset as u16) << 16
                | u64::from(value as u32) << 32
        };
        let instructions = [
            insn(0x18, 1, 1, 0, map), // r1 = the map
            0,
            insn(0x62, 10, 0, -4, 0), // the key, 0, at r10 - 4
            insn(0xbf, 2, 10, 0, 0),
            insn(0x07, 2, 0, 0, -4),
            insn(0x85, 0, 0, 0, 1), // r0 = bpf_map_lookup_elem(r1, r2)
            insn(0x15, 0, 0, 2, 0), // if r0 != 0
            insn(0xb7, 1, 0, 0, 1),
            insn(0xdb, 0, 1, 0, 0), //     *r0 += 1, atomically
            insn(0xb7, 0, 0, 0, pass),
            insn(0x95, 0, 0, 0, 0),
        ];
        Counter { program: load_program(kind, 0, name, &instructions).unwrap(), count }
    }

    fn packets(&self) -> u64 {
        let value = self.count.get(&0u32.to_ne_bytes()).unwrap().unwrap();
        u64::from_ne_bytes(value.try_into().unwrap())
    }

    fn at<'a>(&'a self, name: &'a str, hook: DeviceHook, index: u32) -> Attachment<'a> {
        Attachment { name, point: AttachPoint::Device { index, hook }, program: self.program.as_fd() }
    }
}

/// A node with a pod that sends datagrams to it.
struct Ground {
    _lab: Lab,
    node: Node,
    pod: Pod,
    echo: SocketAddr,
    /// The node's end of the pod's wire.
    device: u32,
}

/// Moves this thread into a host's network namespace: devices are told by their index there.
fn enter(host: &Host) {
    let netns = File::open(host.netns()).unwrap();
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn index_of(name: &str) -> u32 {
    name_to_index(socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap(), name).unwrap()
}

impl Ground {
    /// This thread is in the node's namespace from now on.
    fn new(tag: &str) -> Ground {
        let lab = Lab::new(tag).unwrap();
        let node = lab.node("node").unwrap();
        let pod = node.pod("pod").unwrap();
        enter(&node);
        make_root(node.bpf_root()).unwrap().keep();
        let server = UdpSocket::bind(node.address(0)).unwrap();
        let echo = server.local_addr().unwrap();
        // It ends with the process.
        thread::spawn(move || {
            let mut datagram = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut datagram) {
                let _ = server.send_to(&datagram[..length], from);
            }
        });
        Ground { device: index_of("pod2"), _lab: lab, node, pod, echo }
    }

    fn root(&self) -> &Path {
        self.node.bpf_root()
    }

    /// A socket in the pod that is connected to the node.
    fn client(&self) -> UdpSocket {
        thread::scope(|scope| {
            let bind = || {
                enter(&self.pod);
                let socket = UdpSocket::bind(self.pod.address(0)).unwrap();
                socket.connect(self.echo).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket
            };
            scope.spawn(bind).join().unwrap()
        })
    }

    /// So many questions, each with its answer.
    fn ask(&self, times: u32) {
        let client = self.client();
        for turn in 0..times {
            let question = turn.to_ne_bytes();
            client.send(&question).unwrap();
            let mut answer = [0; 64];
            let length = client.recv(&mut answer).unwrap();
            assert_eq!(answer[..length], question);
        }
    }

    /// After a cleanup, which takes the folder away.
    fn again(&self) {
        make_root(self.root()).unwrap().keep();
    }
}

const HOOKS: [DeviceHook; 3] = [DeviceHook::Xdp, DeviceHook::TcxIngress, DeviceHook::TcxEgress];

/// All tests of this file, on a kernel that pretends to be older than tcx.
#[test]
fn the_same_by_filters() {
    const VERSION: &str = "BOWLINE_KERNEL_VERSION";
    if std::env::var_os(VERSION).is_some() {
        return;
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let out = tests.env(VERSION, "6.1").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("test result: ok. 5 passed"), "{said}");
}

#[test]
fn it_sees_packets_until_it_is_cleaned_up() {
    let ground = Ground::new("seen");
    for hook in HOOKS {
        let counter = Counter::new(hook, "seen");
        let attachment = counter.at("seen", hook, ground.device);
        attach(ground.root(), &[attachment]).unwrap();
        ground.ask(20);
        // Nothing in this process holds it.
        assert!(counter.packets() >= 20, "{hook:?}: {}", counter.packets());
        assert!(is_attached(ground.root(), &attachment).unwrap());
        let removed = cleanup(None, ground.root()).unwrap();
        let pin = ground.root().join(format!("links/seen@{}", ground.device));
        assert_eq!(removed.paths, [pin.as_path()], "{hook:?}");
        assert!(!is_attached(ground.root(), &attachment).unwrap());
        let rests = || {
            let before = counter.packets();
            ground.ask(5);
            counter.packets() == before
        };
        // The kernel takes it away a moment after the pin.
        wait_for("it runs no more once it is cleaned up", PATIENCE, rests).unwrap();
        ground.again();
    }
}

#[test]
fn two_take_turns_and_no_packet_passes_between_them() {
    let ground = Ground::new("turns");
    for hook in HOOKS {
        let [one, other, all] = [(); 3].map(|()| Counter::new(hook, "turns"));
        // A second program that watches sees each packet too. XDP, which takes one program a device, is watched by tcx behind it.
        let watch = if hook == DeviceHook::Xdp { DeviceHook::TcxIngress } else { hook };
        let all = if hook == watch { all } else { Counter::new(watch, "watch") };
        attach(ground.root(), &[one.at("turns", hook, ground.device)]).unwrap();
        attach(ground.root(), &[all.at("watch", watch, ground.device)]).unwrap();
        let client = ground.client();
        let done = AtomicBool::new(false);
        let before = (one.packets() + other.packets(), all.packets());
        let asked = thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut asked = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    client.send(b"?").unwrap();
                    let mut answer = [0; 64];
                    client.recv(&mut answer).unwrap();
                    asked += 1;
                }
                asked
            });
            for turn in 0..100 {
                let counter = if turn % 2 == 0 { &other } else { &one };
                let seen = counter.packets();
                attach(ground.root(), &[counter.at("turns", hook, ground.device)]).unwrap();
                wait_for("the other program sees packets", PATIENCE, || counter.packets() > seen).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        assert!(one.packets() + other.packets() - before.0 >= asked, "{hook:?}: a question passed unseen");
        // Packets of the kernel's own come at any time; each is seen by both.
        let both = || one.packets() + other.packets() - before.0 == all.packets() - before.1;
        wait_for("as many packets were seen as there were", PATIENCE, both).unwrap();
        cleanup(None, ground.root()).unwrap();
        ground.again();
    }
}

#[test]
fn what_can_not_be_attached_whole_is_as_it_was() {
    let ground = Ground::new("undone");
    let second = ground.node.pod("second").unwrap();
    let second_device = index_of("pod3");
    for hook in HOOKS {
        let [old, new] = [(); 2].map(|()| Counter::new(hook, "undone"));
        attach(ground.root(), &[old.at("undone", hook, ground.device)]).unwrap();
        let nowhere = u32::MAX >> 1;
        let wanted = [ground.device, second_device, nowhere].map(|index| new.at("undone", hook, index));
        let error = attach(ground.root(), &wanted).unwrap_err();
        assert!(matches!(&error, KernelError::Attach { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("device {nowhere}")), "{error}");
        let (before, seen) = (old.packets(), new.packets());
        ground.ask(20);
        assert!(old.packets() >= before + 20, "{hook:?}: the program before it is back");
        assert_eq!(new.packets(), seen, "{hook:?}: the new one sees nothing");
        assert!(is_attached(ground.root(), &wanted[0]).unwrap(), "{hook:?}");
        assert!(!is_attached(ground.root(), &wanted[1]).unwrap(), "{hook:?}: what was made is taken away");
        assert_eq!(cleanup(None, ground.root()).unwrap().paths.len(), 1, "{hook:?}: nothing else is left");
        ground.again();
    }
    drop(second);
}

#[test]
fn what_hangs_on_a_device_that_is_gone_is_attached_anew_where_a_device_has_its_index() {
    let ground = Ground::new("gone");
    let ip = |args: &str| ground.node.output("ip", &args.split(' ').collect::<Vec<_>>()).unwrap();
    for hook in HOOKS {
        let counter = Counter::new(hook, "gone");
        let attachment = counter.at("gone", hook, 4000);
        let attached = || is_attached(ground.root(), &attachment).unwrap();
        ip("link add there index 4000 type veth peer name back");
        attach(ground.root(), &[attachment]).unwrap();
        assert!(attached(), "{hook:?}");
        ip("link del there");
        wait_for("it is seen that the device is gone", PATIENCE, || !attached()).unwrap();
        ip("link add there index 4000 type veth peer name back");
        assert!(!attached(), "{hook:?}: a new device with its index doesn't bring it back");
        attach(ground.root(), &[attachment]).unwrap();
        assert!(attached(), "{hook:?}: attached anew");
        // Devices that come up say so, to routers and to multicast groups.
        let before = counter.packets();
        ip("link set back up");
        ip("link set there up");
        wait_for("it sees packets again", PATIENCE, || counter.packets() > before).unwrap();
        ip("link del there");
        cleanup(None, ground.root()).unwrap();
        assert!(!ground.root().join("links").exists(), "{hook:?}: what does nothing any more is cleaned up, too");
        ground.again();
    }
}
