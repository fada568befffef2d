//! Mnemonics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Class, Opcode, Rcode, Type};

#[test]
fn rfc3597_5_unknown_numbers_have_a_mnemonic() {
    assert_eq!((Type(65280).to_string(), "type65280".parse()), ("TYPE65280".into(), Ok(Type(65280))));
    assert_eq!((Class(5).to_string(), "CLASS5".parse()), ("CLASS5".into(), Ok(Class(5))));
    assert_eq!((Rcode(99).to_string(), Opcode(9).to_string()), ("RCODE99".into(), "OPCODE9".into()));
    assert_eq!("TYPE1".parse(), Ok(Type::A));
    for text in ["", "TYPE", "TYPE65536", "TYPE-1", "nothing", "é"] {
        assert!(text.parse::<Type>().is_err(), "{text}");
    }
}

#[test]
fn mnemonics_are_read_in_any_case_and_shown_in_capitals() {
    for number in 0..=300 {
        assert_eq!(Type(number).to_string().to_lowercase().parse(), Ok(Type(number)));
        assert_eq!(Rcode(number).to_string().parse(), Ok(Rcode(number)));
    }
    assert_eq!((Type::NSAP_PTR.to_string(), Rcode::NXDOMAIN.to_string()), ("NSAP-PTR".into(), "NXDOMAIN".into()));
    assert_eq!(format!("{:>6}|{:<4}|", Type::A, Class::IN), "     A|IN  |");
}
