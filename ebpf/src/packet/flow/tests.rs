//! Flows through their lives.

use super::*;

fn packet(tcp: u32) -> Packet {
    Packet { tcp: tcp as u8, ..Packet::default() }
}

/// The seconds that a connection is remembered after these flags, each with whether it is an answer.
fn remembered(flags: &[(u32, bool)]) -> u64 {
    let mut directions = [0; 2];
    for (tcp, is_reply) in flags {
        let direction = &mut directions[usize::from(*is_reply)];
        *direction = flags_after(*direction, &packet(*tcp), *is_reply, false);
    }
    timeout(TCP, directions[0], directions[1]) / SECOND
}

#[test]
fn a_connection_is_remembered_as_long_as_its_state_wants() {
    let mut flags = vec![(SYN, false)];
    assert_eq!(remembered(&flags), 120, "it asked");
    flags.push((SYN | ACK, true));
    assert_eq!(remembered(&flags), 120, "it was answered");
    flags.push((ACK, false));
    assert_eq!(remembered(&flags), 432_000, "it stands");
    flags.push((FIN | ACK, true));
    assert_eq!(remembered(&flags), 120, "one side has ended");
    flags.push((FIN | ACK, false));
    assert_eq!(remembered(&flags), 120, "both have");
    // The same ports again.
    flags.push((SYN, false));
    flags.push((SYN | ACK, true));
    flags.push((ACK, false));
    assert_eq!(remembered(&flags), 432_000, "it stands again");
    flags.push((RST, true));
    assert_eq!(remembered(&flags), 10, "it is broken off");
    assert_eq!(remembered(&[(ACK, false), (ACK, true)]), 432_000, "it was there before us");
}

#[test]
fn what_has_no_connections_is_remembered_for_a_while() {
    assert_eq!(timeout(UDP, 0, 0), 30 * SECOND);
    assert_eq!(timeout(UDP, 0, ANSWERED), 30 * SECOND, "a question and its answer");
    assert_eq!(timeout(UDP, LASTS, 0), 30 * SECOND, "nobody answers");
    assert_eq!(timeout(UDP, LASTS, ANSWERED), 120 * SECOND, "a stream");
    assert_eq!(timeout(UDP, 0, ANSWERED | LASTS), 120 * SECOND, "a stream of answers");
    assert_eq!(timeout(ICMPV6, 0, ANSWERED), 30 * SECOND);
    assert!(timeout(TCP, RST, 0) >= SHORTEST);
}

#[test]
fn a_flow_lasts_if_it_goes_on_after_two_seconds() {
    let after = |flags: u32, made: u64, now: u64| flags_after(flags, &packet(0), true, is_stale(made, now));
    assert_eq!(after(0, 7, 7 + 2 * SECOND), ANSWERED);
    assert_eq!(after(0, 7, 8 + 2 * SECOND), ANSWERED | LASTS);
    assert_eq!(after(ANSWERED | LASTS, 7, 7), ANSWERED | LASTS, "it stays said");
}

#[test]
fn the_ways_of_a_flow_lead_to_each_other() {
    let key =
        Tuple { source: [1; 4], destination: [2; 4], source_port: 3, destination_port: 4, protocol: 6, pad: [0; 3] };
    let to = sent_as(&key, &[9; 4], 5);
    let (back, back_to) = (to.reversed(), key.reversed());
    assert_eq!((back_to.reversed(), back.reversed()), (key, to));
}

#[test]
fn a_port_is_the_own_first_and_never_a_low_one_after_that() {
    assert_eq!(candidate(0, 80_u16.to_be(), 7), 80_u16.to_be());
    for random in [0, 7, u32::MAX] {
        assert!(u16::from_be(candidate(1, 80, random)) >= 32768);
    }
}

#[test]
fn a_connection_begins_with_a_syn() {
    let enters = |protocol: u8, tcp: u32, kind: Behind| {
        let mut packet = Packet { kind, ..packet(tcp) };
        packet.tuple.protocol = protocol;
        may_enter(&packet)
    };
    assert!(enters(TCP, SYN, Behind::Ports));
    for flags in [ACK, SYN | ACK, RST, FIN | ACK] {
        assert!(!enters(TCP, flags, Behind::Ports), "{flags:x}");
    }
    assert!(enters(UDP, 0, Behind::Ports) && enters(SCTP, 0, Behind::Ports));
    assert!(enters(SCTP, 0, Behind::Fixed), "a piece");
    assert!(!enters(SCTP, 0, Behind::Lost) && !enters(UDP, 0, Behind::Lost) && !enters(ICMP, 0, Behind::Asks));
}
