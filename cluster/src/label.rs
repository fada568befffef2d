//! What Kubernetes takes as a label's key and value (apimachinery's validation).

/// A label's or annotation's key: `[PREFIX/]NAME`.
pub fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_value(name) && prefix.is_none_or(is_subdomain)
}

/// A label's value: up to 63 bytes.
pub fn is_value(value: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= 63 && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inner)
}

/// A part of a DNS name: up to 63 bytes.
pub fn is_label(text: &str) -> bool {
    is_subdomain(text) && text.len() <= 63 && !text.contains('.')
}

/// A DNS name as Kubernetes writes it: RFC 1123, lower case, up to 253 bytes.
pub fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        !bytes.is_empty() && bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-' && bytes.iter().all(inner)
    };
    text.len() <= 253 && text.split('.').all(part)
}
