//! The numbers of DNS and their mnemonics: record types, classes, response codes and opcodes, spelt as CoreDNS
//! spells them in logs and metrics.
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// A mnemonic that isn't known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no known mnemonic")]
pub struct MnemonicError(String);

/// Defines a number with mnemonics: what it is, its constants, and the prefix of numbers without a name.
macro_rules! numbers {
    ($(#[$about:meta])* $name:ident($number:ty), $prefix:literal, { $($constant:ident $text:literal = $value:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $number);

        impl $name {
            $(#[doc = concat!($text, ", ", $value, ".")] pub const $constant: $name = $name($value);)*
        }

        impl fmt::Display for $name {
            /// The mnemonic; a number without one stands behind the prefix of RFC 3597 §5.
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($value => to.pad($text),)*
                    other => to.pad(&format!(concat!($prefix, "{}"), other)),
                }
            }
        }

        impl FromStr for $name {
            type Err = MnemonicError;

            /// Ignores case; takes the prefix with a number too.
            fn from_str(text: &str) -> Result<$name, MnemonicError> {
                $(if text.eq_ignore_ascii_case($text) { return Ok($name($value)); })*
                let number = text.get(..$prefix.len()).filter(|front| front.eq_ignore_ascii_case($prefix));
                number.and_then(|_| text[$prefix.len()..].parse().ok()).map($name)
                    .ok_or_else(|| MnemonicError(text.into()))
            }
        }
    };
}

numbers! {
    /// A record's type (IANA's registry "Resource Record (RR) TYPEs").
    Type(u16), "TYPE", {
        NONE "None" = 0, A "A" = 1, NS "NS" = 2, MD "MD" = 3, MF "MF" = 4, CNAME "CNAME" = 5, SOA "SOA" = 6,
        MB "MB" = 7, MG "MG" = 8, MR "MR" = 9, NULL "NULL" = 10, PTR "PTR" = 12, HINFO "HINFO" = 13,
        MINFO "MINFO" = 14, MX "MX" = 15, TXT "TXT" = 16, RP "RP" = 17, AFSDB "AFSDB" = 18, X25 "X25" = 19,
        ISDN "ISDN" = 20, RT "RT" = 21, NSAP_PTR "NSAP-PTR" = 23, SIG "SIG" = 24, KEY "KEY" = 25, PX "PX" = 26,
        GPOS "GPOS" = 27, AAAA "AAAA" = 28, LOC "LOC" = 29, NXT "NXT" = 30, EID "EID" = 31, NIMLOC "NIMLOC" = 32,
        SRV "SRV" = 33, ATMA "ATMA" = 34, NAPTR "NAPTR" = 35, KX "KX" = 36, CERT "CERT" = 37, DNAME "DNAME" = 39,
        OPT "OPT" = 41, APL "APL" = 42, DS "DS" = 43, SSHFP "SSHFP" = 44, IPSECKEY "IPSECKEY" = 45,
        RRSIG "RRSIG" = 46, NSEC "NSEC" = 47, DNSKEY "DNSKEY" = 48, DHCID "DHCID" = 49, NSEC3 "NSEC3" = 50,
        NSEC3PARAM "NSEC3PARAM" = 51, TLSA "TLSA" = 52, SMIMEA "SMIMEA" = 53, HIP "HIP" = 55, NINFO "NINFO" = 56,
        RKEY "RKEY" = 57, TALINK "TALINK" = 58, CDS "CDS" = 59, CDNSKEY "CDNSKEY" = 60,
        OPENPGPKEY "OPENPGPKEY" = 61, CSYNC "CSYNC" = 62, ZONEMD "ZONEMD" = 63, SVCB "SVCB" = 64,
        HTTPS "HTTPS" = 65, SPF "SPF" = 99, UINFO "UINFO" = 100, UID "UID" = 101, GID "GID" = 102,
        UNSPEC "UNSPEC" = 103, NID "NID" = 104, L32 "L32" = 105, L64 "L64" = 106, LP "LP" = 107,
        EUI48 "EUI48" = 108, EUI64 "EUI64" = 109, NXNAME "NXNAME" = 128, TKEY "TKEY" = 249, TSIG "TSIG" = 250,
        IXFR "IXFR" = 251, AXFR "AXFR" = 252, MAILB "MAILB" = 253, MAILA "MAILA" = 254, ANY "ANY" = 255,
        URI "URI" = 256, CAA "CAA" = 257, AVC "AVC" = 258, AMTRELAY "AMTRELAY" = 260, RESINFO "RESINFO" = 261,
        TA "TA" = 32768, DLV "DLV" = 32769, RESERVED "Reserved" = 65535,
    }
}

numbers! {
    /// A record's class.
    Class(u16), "CLASS", {
        IN "IN" = 1, CS "CS" = 2, CH "CH" = 3, HS "HS" = 4, NONE "NONE" = 254, ANY "ANY" = 255,
    }
}

numbers! {
    /// A response code, with the 8 bits that EDNS puts above the header's 4 (RFC 6891 §6.1.3).
    Rcode(u16), "RCODE", {
        NOERROR "NOERROR" = 0, FORMERR "FORMERR" = 1, SERVFAIL "SERVFAIL" = 2, NXDOMAIN "NXDOMAIN" = 3,
        NOTIMP "NOTIMP" = 4, REFUSED "REFUSED" = 5, YXDOMAIN "YXDOMAIN" = 6, YXRRSET "YXRRSET" = 7,
        NXRRSET "NXRRSET" = 8, NOTAUTH "NOTAUTH" = 9, NOTZONE "NOTZONE" = 10, DSOTYPENI "DSOTYPENI" = 11,
        BADSIG "BADSIG" = 16, BADKEY "BADKEY" = 17, BADTIME "BADTIME" = 18, BADMODE "BADMODE" = 19,
        BADNAME "BADNAME" = 20, BADALG "BADALG" = 21, BADTRUNC "BADTRUNC" = 22, BADCOOKIE "BADCOOKIE" = 23,
    }
}

impl Rcode {
    /// Unknown EDNS version (RFC 6891 §9): the number of BADSIG, under which it is printed.
    pub const BADVERS: Rcode = Rcode(16);
}

numbers! {
    /// What a message asks for.
    Opcode(u8), "OPCODE", {
        QUERY "QUERY" = 0, IQUERY "IQUERY" = 1, STATUS "STATUS" = 2, NOTIFY "NOTIFY" = 4, UPDATE "UPDATE" = 5,
    }
}
