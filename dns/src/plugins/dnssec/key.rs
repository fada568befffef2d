//! A key pair as BIND's tools write it: `KNAME.+ALG+TAG.key` has the DNSKEY record, `….private` the private key.

use crate::corefile::SetupError;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};

use crate::wire::text;
use crate::wire::text::zone::Records;
use crate::wire::{Data, Name, Record, Type};

/// A key that signs.
pub(super) struct Key {
    /// The name in whose zone it was made.
    pub(super) owner: Name,
    /// Its DNSKEY data.
    pub(super) data: Data,
    /// By which signatures tell it (RFC 4034 appendix B).
    pub(super) tag: u16,
    /// Its number (IANA's registry "DNS Security Algorithm Numbers").
    pub(super) algorithm: u8,
    /// A secure entry point: a key-signing key where there are others.
    pub(super) is_entry: bool,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>, &'static dyn signature::RsaEncoding),
    Ecdsa(EcdsaKeyPair, SystemRandom),
    Ed25519(Ed25519KeyPair),
}

/// The bit of a zone's key, and that of an entry point (RFC 4034 §2.1.1).
const ZONE_KEY: u16 = 1 << 8;
const ENTRY: u16 = 1;

impl Key {
    /// Reads a pair. `path` is that of either file, or of both without their ends.
    ///
    /// # Errors
    /// What can't be read, or used.
    pub(super) fn read(path: &Path) -> Result<Key, SetupError> {
        let text = path.to_string_lossy();
        let base = text.strip_suffix(".key").or_else(|| text.strip_suffix(".private")).unwrap_or(&text);
        let (public, private) = (PathBuf::from(format!("{base}.key")), PathBuf::from(format!("{base}.private")));
        let record = record(&public)?;
        let wrong = |reason: String| format!("{}: {reason}", private.display());
        let lines = std::fs::read_to_string(&private).map_err(|error| wrong(error.to_string()))?;
        Key::new(record, &lines).map_err(|error| wrong(error.into()).into())
    }

    fn new(record: Record, private: &str) -> Result<Key, SetupError> {
        let Some(([f0, f1, protocol, algorithm], public)) = record.data.as_bytes().split_first_chunk() else {
            return Err("the DNSKEY record is too short".into());
        };
        let flags = u16::from_be_bytes([*f0, *f1]);
        if *protocol != 3 || flags & ZONE_KEY == 0 {
            return Err("the DNSKEY record is none of a zone".into());
        }
        let fields = Fields::read(private);
        if fields.algorithm() != Some(*algorithm) {
            return Err(format!("its algorithm is not that of the public key, {algorithm}").into());
        }
        let pair = Pair::new(*algorithm, public, &fields)?;
        let (tag, algorithm) = (tag(record.data.as_bytes()), *algorithm);
        Ok(Key { owner: record.name, tag, algorithm, is_entry: flags & ENTRY != 0, pair, data: record.data })
    }

    /// Signs; None where the system gives no random numbers.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ecdsa(pair, random) => Some(pair.sign(random, message).ok()?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

fn record(path: &Path) -> Result<Record, SetupError> {
    let mut records = Records::open(path, &Name::root()).map_err(|error| error.to_string())?.with_default_ttl(3600);
    match records.next() {
        Some(Ok(record)) if record.rtype == Type::DNSKEY => Ok(record),
        Some(Err(error)) => Err(error.to_string().into()),
        _ => Err(format!("{}: has no DNSKEY record", path.display()).into()),
    }
}

/// The lines of a private key: `Name: value`.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Fields<'a> {
        let line = |line: &'a str| line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        Fields(text.lines().filter_map(line).collect())
    }

    /// `Algorithm: 13 (ECDSAP256SHA256)`.
    fn algorithm(&self) -> Option<u8> {
        self.0.get("Algorithm")?.split_whitespace().next()?.parse().ok()
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, SetupError> {
        let value = self.0.get(name).ok_or_else(|| format!("has no {name}"))?;
        Ok(text::bytes_from_base64(value).ok_or_else(|| format!("{name} is no base64"))?)
    }
}

impl Pair {
    fn new(algorithm: u8, public: &[u8], fields: &Fields<'_>) -> Result<Pair, SetupError> {
        let rejected = |error: ring::error::KeyRejected| format!("the key can't be used: {error}");
        let random = SystemRandom::new();
        match algorithm {
            8 | 10 => {
                let numbers = [
                    "Modulus",
                    "PublicExponent",
                    "PrivateExponent",
                    "Prime1",
                    "Prime2",
                    "Exponent1",
                    "Exponent2",
                    "Coefficient",
                ];
                let numbers = numbers.map(|name| fields.bytes(name));
                let [n, e, d, p, q, dp, dq, q_inv] = numbers;
                let public_key = PublicKeyComponents { n: n?, e: e? };
                let components = KeyPairComponents { public_key, d: d?, p: p?, q: q?, dP: dp?, dQ: dq?, qInv: q_inv? };
                let pair = RsaKeyPair::from_components(&components).map_err(rejected)?;
                let encoding: &dyn signature::RsaEncoding =
                    if algorithm == 8 { &signature::RSA_PKCS1_SHA256 } else { &signature::RSA_PKCS1_SHA512 };
                Ok(Pair::Rsa(Box::new(pair), encoding))
            }
            13 | 14 => {
                let (form, size) = match algorithm {
                    13 => (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, 32),
                    _ => (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, 48),
                };
                let private = padded(fields.bytes("PrivateKey")?, size);
                // DNSKEY has the point without the byte that says it is not compressed.
                let point = [&[4], public].concat();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(form, &private, &point, &random);
                Ok(Pair::Ecdsa(pair.map_err(rejected)?, random))
            }
            15 => {
                let seed = fields.bytes("PrivateKey")?;
                let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, public);
                Ok(Pair::Ed25519(pair.map_err(rejected)?))
            }
            // RFC 9905. CoreDNS still takes them.
            5 | 7 => Err(format!(
                "algorithm {algorithm} signs with SHA-1, which validators no longer trust: make a key of \
                 ECDSAP256SHA256 (13)"
            )
            .into()),
            other => Err(format!(
                "algorithm {other} is not supported: use ECDSAP256SHA256 (13), ECDSAP384SHA384 (14), ED25519 (15), \
                 RSASHA256 (8) or RSASHA512 (10)"
            )
            .into()),
        }
    }
}

/// A number with zero bytes in front, up to this size.
fn padded(bytes: Vec<u8>, size: usize) -> Vec<u8> {
    let mut padded = vec![0; size.saturating_sub(bytes.len())];
    padded.extend(bytes);
    padded
}

/// The key tag (RFC 4034 appendix B).
pub(super) fn tag(data: &[u8]) -> u16 {
    let sum: u32 =
        data.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))).sum();
    (sum + (sum >> 16)) as u16
}
