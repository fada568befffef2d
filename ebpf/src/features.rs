//! What of the kernel the programs use only where it is there. The loader tries each and writes the word that the
//! programs read (`FEATURES`); what is not there is removed by the verifier as code that is never reached.

/// `bpf_set_retval` in a program for connects and datagrams: a refusal has the errno that is right.
pub const SET_RETVAL: u32 = 1;
/// `bpf_loop`: all that a socket has left is forgotten at its close, however much.
pub const LOOP: u32 = 1 << 1;
/// `bpf_skc_to_mptcp_sock`: paths of an MPTCP connection are known as such.
pub const MPTCP: u32 = 1 << 2;
/// All of them.
pub const ALL: u32 = SET_RETVAL | LOOP | MPTCP;
