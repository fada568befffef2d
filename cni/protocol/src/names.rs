//! What containers, networks and interfaces may be called.

/// How many characters an id may have: file names are made of them.
const MAX_ID: usize = 200;

/// Whether this may be a container's id or a network's name: `^[a-zA-Z0-9][a-zA-Z0-9_.-]*$` (specification 1.1.0), and
/// 200 characters at most.
pub fn is_id(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.len() <= MAX_ID
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(is_inner)
}

/// Whether this may be an interface's name: 1 to 15 bytes, not `.` or `..`, without `/`, `:` and white space (dev_valid_name
/// in net/core/dev.c), and without control characters.
pub fn is_interface_name(text: &str) -> bool {
    let is_bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (1..=15).contains(&text.len()) && text != "." && text != ".." && !text.chars().any(is_bad)
}
