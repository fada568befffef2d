#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

#[test]
fn addresses_as_go_reads_them() {
    // Text, and what ParseIPSloppy(text).String() is.
    for (text, read) in [
        ("10.96.003.008", Some("10.96.3.8")),
        ("010.096.010.09", Some("10.96.10.9")),
        ("00000010.0.0.000001", Some("10.0.0.1")),
        ("0.0.0.00", Some("0.0.0.0")),
        ("255.255.255.0255", Some("255.255.255.255")),
        ("::ffff:10.96.3.8", Some("10.96.3.8")),
        ("::ffff:010.96.03.8", Some("10.96.3.8")),
        ("::FFFF:a60:308", Some("10.96.3.8")),
        ("0:0:0:0:0:ffff:10.0.0.01", Some("10.0.0.1")),
        ("FD00:0000::00001", Some("fd00::1")),
        ("fd00:000000:0:0:0:0:0:1", Some("fd00::1")),
        ("64:ff9b::010.0.0.1", Some("64:ff9b::a00:1")),
        ("fd00:00000::", Some("fd00::")),
        ("::00001", Some("::1")),
        ("1:2:3:4:5:6:010.0.0.1", Some("1:2:3:4:5:6:a00:1")),
        ("10.96.3.256", None),
        ("10.96.3.0x8", None),
        ("10.96.3", None),
        ("10.96.3.", None),
        (".10.96.3.8", None),
        ("10.96.3.8.1", None),
        ("10.96..8", None),
        (" 10.96.3.8", None),
        ("10.96.3.8 ", None),
        ("10.96.3.+8", None),
        ("10.96.3.16777216", None),
        ("0xa.0.0.1", None),
        ("168165128", None),
        ("fe80::1%eth0", None),
        ("[fd00::1]", None),
        ("fd00:::1", None),
        ("fd00::1::", None),
        ("fd00:1", None),
        ("1:2:3:4:5:6:7:00008::", None),
        ("1:2:3:4:5:6:7:8:00009", None),
        ("1:2:3:4:5:6:7:010.0.0.1", None),
        ("::1:2:3:4:5:6:7:010.0.0.1", None),
        ("010.0.0.1:1", None),
        (":1", None),
        (":", None),
        ("", None),
        ("fd00::00g", None),
        ("\u{e9}1:2", None),
    ] {
        assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), read, "{text:?}");
    }
}

#[test]
fn ranges_as_go_reads_them() {
    for (text, read) in [
        ("10.96.000.0/12", Some("10.96.0.0/12")),
        ("10.96.3.8/016", Some("10.96.0.0/16")),
        ("010.1.2.3/032", Some("10.1.2.3/32")),
        ("fd00:00010::1/0064", Some("fd00:10::/64")),
        ("::ffff:10.1.2.3/104", Some("10.0.0.0/8")),
        ("::ffff:0:0/80", Some("::/80")),
        ("0.0.0.0/0", Some("0.0.0.0/0")),
        ("::/0", Some("::/0")),
        ("10.0.0.0/33", None),
        ("fd00::/129", None),
        ("10.0.0.0", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/+8", None),
        ("10.0.0.0/8 ", None),
        (" 10.0.0.0/8", None),
        ("10.0/8", None),
        ("/8", None),
        ("10.0.0.0/8/8", None),
        ("10.0.0.0/255.0.0.0", None),
    ] {
        assert_eq!(parse_range(text).map(|range| range.to_string()).as_deref(), read, "{text:?}");
    }
}

proptest! {
    /// What Rust takes is read as Rust reads it, and our own reader agrees.
    #[test]
    fn an_address_is_the_same_in_both_readers(address: IpAddr, text in "[0-9a-f:.]{0,40}") {
        prop_assert_eq!(sloppy(&address.to_string()), Some(address));
        prop_assert_eq!(parse(&address.to_string()), Some(address.to_canonical()));
        if let Ok(address) = text.parse::<IpAddr>() {
            prop_assert_eq!(sloppy(&text), Some(address));
        }
    }

    #[test]
    fn leading_zeros_change_nothing(octets: [u8; 4], zeros in proptest::array::uniform4(0..20_usize)) {
        let parts: Vec<_> = octets.iter().zip(zeros).map(|(octet, zeros)| "0".repeat(zeros) + &octet.to_string()).collect();
        prop_assert_eq!(parse(&parts.join(".")), Some(octets.into()));
    }
}
