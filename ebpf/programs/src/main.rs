//! The programs in the kernel: each hook reads its context, asks [`bowline_ebpf::decide`], writes the
//! answer back and counts the verdict. All unsafe code of the kernel side is here, in `maps.rs` and in `other.rs`.
//!
//! ```text
//! connect4, connect6            which backend; remembered under the socket's cookie
//! sendmsg4, sendmsg6            the same for a datagram without connect
//! recvmsg4, recvmsg6            the answer comes from the VIP
//! getpeername4, getpeername6    the peer is the VIP
//! sock_release                  forgets
//! ```
//!
//! Context fields: `user_ip4`, `user_ip6` and `user_port` are in network order (linux/bpf.h,
//! `struct bpf_sock_addr`). Returning 1 lets the call go on, 0 refuses it with the errno that
//! bpf_set_retval set.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(internal_features, reason = "atomic adds have no stable form on this target")]

mod maps;
mod other;

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_addr,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_loop, bpf_set_retval, bpf_skc_to_mptcp_sock},
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};
use bowline_ebpf::decide::{self, Ask, Decision, TCP, UDP};
use bowline_ebpf::features;
use bowline_ebpf::layout::{Endpoint, MAPPED};
use bowline_ebpf::verdict::Verdict;
use core::ffi::c_void;
use maps::Kernel;
use other::{Previous, has_previous};

const ALLOW: i32 = 1;
const REFUSE: i32 = 0;
const ECONNREFUSED: i32 = 111;
const ENOBUFS: i32 = 105;

/// At most so many further VIPs of one socket are forgotten at its close (bpf_loop's bound is 8 Mi).
const MAX_CHAIN: u32 = 1 << 16;
/// And so many on a kernel without bpf_loop.
const MAX_CHAIN_BY_HAND: u32 = 16;

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

#[inline(always)]
fn address(ctx: &SockAddrContext, family: Family) -> Endpoint {
    let a: *const bpf_sock_addr = ctx.sock_addr;
    // SAFETY: the kernel hands a valid context; the verifier checks each load. Words are loaded one by
    // one and volatile, since a load of another width than 32 bits would be refused.
    unsafe {
        let port = (&raw const (*a).user_port).read_volatile() as u16;
        let w = match family {
            Family::V4 => [0, 0, MAPPED, (&raw const (*a).user_ip4).read_volatile()],
            Family::V6 => {
                let ip: *const u32 = (&raw const (*a).user_ip6).cast();
                [ip.read_volatile(), ip.add(1).read_volatile(), ip.add(2).read_volatile(), ip.add(3).read_volatile()]
            }
        };
        Endpoint::new(w, port)
    }
}

#[inline(always)]
fn set_address(ctx: &SockAddrContext, family: Family, to: &Endpoint) {
    let a = ctx.sock_addr;
    let w = to.address;
    // SAFETY: as in `address`; these fields are writable in every program type that is used here.
    unsafe {
        match family {
            Family::V4 => (&raw mut (*a).user_ip4).write_volatile(w[3]),
            Family::V6 => {
                let ip: *mut u32 = (&raw mut (*a).user_ip6).cast();
                ip.write_volatile(w[0]);
                ip.add(1).write_volatile(w[1]);
                ip.add(2).write_volatile(w[2]);
                ip.add(3).write_volatile(w[3]);
            }
        }
        (&raw mut (*a).user_port).write_volatile(to.port as u32);
    }
}

#[inline(always)]
fn protocol(ctx: &SockAddrContext) -> u8 {
    // SAFETY: as in `address`.
    unsafe { (&raw const (*ctx.sock_addr).protocol).read_volatile() as u8 }
}

#[inline(always)]
fn cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the program's own context.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

#[inline(always)]
fn ask(ctx: &SockAddrContext, family: Family, protocol: u8) -> Ask {
    // SAFETY: the helper takes the program's own context.
    let client = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let untold = is_subflow(ctx, protocol);
    let vip = address(ctx, family);
    let looked_up = if vip.is_loopback() && client != maps::node_netns() { 0 } else { protocol };
    Ask { vip, cookie: cookie(ctx), client, protocol, looked_up, untold, may_be_connection: false }
}

/// Whether the socket is an IPv6 one that is connected to an IPv4 address.
#[inline(always)]
fn is_mapped_connection(ctx: &SockAddrContext, family: Family) -> bool {
    const AF_INET6: u32 = 10;
    const TCP_ESTABLISHED: u32 = 1;
    if !matches!(family, Family::V4) {
        return false;
    }
    // SAFETY: the context's socket, checked as the verifier demands.
    unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        !socket.is_null() && (*socket).family == AF_INET6 && (*socket).state == TCP_ESTABLISHED
    }
}

/// Whether the socket is a path of an MPTCP connection: those are the kernel's own, and their close runs
/// no hook.
#[inline(always)]
fn is_subflow(ctx: &SockAddrContext, protocol: u8) -> bool {
    if protocol != TCP || !maps::has(features::MPTCP) {
        return false;
    }
    // SAFETY: the context's socket, checked as the verifier demands; the helper only looks at it.
    unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        !socket.is_null() && !bpf_skc_to_mptcp_sock(socket.cast()).is_null()
    }
}

#[inline(always)]
fn carry_out(ctx: &SockAddrContext, family: Family, decision: Decision) -> i32 {
    if decision.verdict as u32 == Verdict::NotService as u32 {
        return ALLOW;
    }
    maps::count(decision.verdict);
    if decision.is_refused() {
        let errno = if decision.verdict as u32 == Verdict::SocketsFull as u32 { ENOBUFS } else { ECONNREFUSED };
        if maps::has(features::SET_RETVAL) {
            // SAFETY: a helper without pointers.
            unsafe { bpf_set_retval(-errno) };
        }
        return REFUSE;
    }
    if decision.redirected {
        set_address(ctx, family, &decision.to);
    }
    ALLOW
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, family: Family) -> i32 {
    let protocol = protocol(ctx);
    if protocol != TCP && protocol != UDP {
        return ALLOW;
    }
    carry_out(ctx, family, decide::connect(&Kernel, &ask(ctx, family, protocol)))
}

#[inline(always)]
fn send(ctx: &SockAddrContext, family: Family) -> i32 {
    if protocol(ctx) != UDP {
        return ALLOW;
    }
    let ask = Ask { may_be_connection: is_mapped_connection(ctx, family), ..ask(ctx, family, UDP) };
    carry_out(ctx, family, decide::send(&Kernel, &ask))
}

#[inline(always)]
fn receive(ctx: &SockAddrContext, family: Family) -> i32 {
    if let Some(vip) = decide::receive(&Kernel, cookie(ctx), &address(ctx, family)) {
        set_address(ctx, family, &vip);
    }
    ALLOW
}

#[inline(always)]
fn peer(ctx: &SockAddrContext, family: Family) -> i32 {
    if let Some(vip) = decide::peer(&Kernel, cookie(ctx), &address(ctx, family)) {
        set_address(ctx, family, &vip);
    }
    ALLOW
}

macro_rules! hook {
    ($hook:ident, $what:ident, $family:ident) => {
        #[cgroup_sock_addr($hook)]
        fn $hook(ctx: SockAddrContext) -> i32 {
            $what(&ctx, Family::$family)
        }
    };
}

hook!(connect4, connect, V4);
hook!(connect6, connect, V6);
hook!(sendmsg4, send, V4);
hook!(sendmsg6, send, V6);
hook!(recvmsg4, receive, V4);
hook!(recvmsg6, receive, V6);
hook!(getpeername4, peer, V4);
hook!(getpeername6, peer, V6);

/// What the steps of a release carry.
struct Walk {
    cookie: u64,
    next: u32,
    previous: u32,
}

extern "C" fn step(_turn: u32, walk: *mut c_void) -> i64 {
    // SAFETY: bpf_loop hands back the pointer that `sock_release` gave it, which outlives the loop.
    let walk = unsafe { &mut *walk.cast::<Walk>() };
    // The constant first: a verifier before 6.8 loses sight of the zero in `walk.previous`, half a slot of the stack, and
    // would look into maps of a layout that is not there.
    if has_previous() && walk.previous != 0 {
        walk.previous = decide::release_step(&Previous, walk.cookie, walk.previous);
    } else if walk.next != 0 {
        walk.next = decide::release_step(&maps::Current, walk.cookie, walk.next);
    } else {
        return 1;
    }
    0
}

#[cgroup_sock(sock_release)]
fn sock_release(ctx: SockContext) -> i32 {
    // SAFETY: the kernel hands a valid context; the helper takes the program's own.
    let (protocol, cookie) =
        unsafe { ((&raw const (*ctx.sock).protocol).read_volatile() as u8, bpf_get_socket_cookie(ctx.as_ptr())) };
    if protocol != TCP && protocol != UDP {
        return ALLOW;
    }
    // The other layout first: an agent that copies an entry looks there last whether its socket still lives.
    let previous = if has_previous() { decide::release(&Previous, cookie, protocol) } else { 0 };
    let mut walk = Walk { cookie, next: decide::release(&maps::Current, cookie, protocol), previous };
    if walk.next == 0 && walk.previous == 0 {
        return ALLOW;
    }
    if maps::has(features::LOOP) {
        // SAFETY: `step` reads only the `Walk` that it is given.
        unsafe { bpf_loop(MAX_CHAIN, step as *mut c_void, (&raw mut walk).cast(), 0) };
    } else {
        for turn in 0..MAX_CHAIN_BY_HAND {
            if step(turn, (&raw mut walk).cast()) != 0 {
                break;
            }
        }
    }
    ALLOW
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
