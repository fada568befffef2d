//! What `--state etcd:…` says: `etcd:URL[,URL...][?prefix=…&cacert=…&cert=…&key=…&user=…&password-file=…]`.
//!
//! Values stand as they are, without percent-encoding. There is no secret in it, and one that somebody
//! writes there is refused without being repeated: process lists and logs show it.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use super::Keys;

/// Where an etcd is and how to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// `http://host:port` or `https://host:port`, at least one.
    pub(super) endpoints: Vec<String>,
    keys: Keys,
    /// Files of certificates, PEM.
    pub(super) cacert: Option<PathBuf>,
    pub(super) identity: Option<Identity>,
    pub(super) user: Option<User>,
}

/// A client's certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// A user of etcd; without a file the password is in the environment ([`Location::PASSWORD`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password_file: Option<PathBuf>,
}

/// What is wrong with the string, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LocationError(String);

impl Location {
    /// The prefix where none is given.
    pub const PREFIX: &str = "/bowline";
    /// The variable of the environment that has the password of `user=` where there is no `password-file=`.
    pub const PASSWORD: &str = "BOWLINE_ETCD_PASSWORD";

    /// The endpoints' URLs.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// What stands at which key.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl FromStr for Location {
    type Err = LocationError;

    /// Reads it with or without the `etcd:` before it.
    fn from_str(text: &str) -> Result<Location, LocationError> {
        let text = text.strip_prefix("etcd:").unwrap_or(text);
        let (urls, parameters) = text.split_once('?').unwrap_or((text, ""));
        // Before anything that would repeat a part of the text.
        if urls.contains('@') {
            return refuse(format!(
                "a URL has a user in it; write ?user=NAME&password-file=FILE after the URLs (or the password \
                 into {} in the environment)",
                Location::PASSWORD
            ));
        }
        let endpoints = urls.split(',').map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let mut location = Location {
            endpoints,
            keys: Keys::new(Location::PREFIX).map_err(LocationError)?,
            cacert: None,
            identity: None,
            user: None,
        };
        let (mut cert, mut key, mut user, mut password_file) = (None, None, None, None);
        let mut seen = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name == "password" {
                return refuse(format!(
                    "password= would show in process lists; write password-file=FILE, or put the password into {} \
                     in the environment",
                    Location::PASSWORD
                ));
            }
            if !["prefix", "cacert", "cert", "key", "user", "password-file"].contains(&name) {
                // It may be the rest of a value that has an & in it, so it is not repeated.
                return refuse(
                    "a parameter after ? is not known; write prefix=, cacert=, cert=, key=, user=, password-file=, \
                     with & between them",
                );
            }
            if value.is_empty() {
                return refuse(format!("{name}= has no value"));
            }
            if seen.contains(&name) {
                return refuse(format!("{name}= is given twice"));
            }
            seen.push(name);
            match name {
                "prefix" => location.keys = Keys::new(value).map_err(LocationError)?,
                "cacert" => location.cacert = Some(PathBuf::from(value)),
                "cert" => cert = Some(PathBuf::from(value)),
                "key" => key = Some(PathBuf::from(value)),
                "user" => user = Some(value),
                _ => password_file = Some(PathBuf::from(value)),
            }
        }
        location.identity = match (cert, key) {
            (Some(cert), Some(key)) => Some(Identity { cert, key }),
            (None, None) => None,
            (Some(_), None) => return refuse("cert= is given without key=; give both"),
            (None, Some(_)) => return refuse("key= is given without cert=; give both"),
        };
        location.user = match (user, password_file) {
            (Some(name), _) if name.contains(':') => {
                return refuse("user= has a colon in it; write the name alone, and password-file=FILE");
            }
            (Some(name), password_file) => Some(User { name: name.to_owned(), password_file }),
            (None, None) => None,
            (None, Some(_)) => return refuse("password-file= is given without user=; give both"),
        };
        let plain = location.endpoints.iter().find(|url| url.starts_with("http://"));
        if let Some(url) = plain.filter(|_| location.cacert.is_some() || location.identity.is_some()) {
            return refuse(format!("certificates are given, but {url} does not use them; write https://"));
        }
        Ok(location)
    }
}

/// One URL, made whole.
fn endpoint(url: &str) -> Result<String, LocationError> {
    let problem = |message: &str| refuse(format!("the URL \"{url}\" {message}"));
    if url.is_empty() {
        return refuse("has no URL; write etcd:https://HOST:2379, several with commas between them");
    }
    let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else {
        return problem("must begin with https:// or http://");
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '#']) {
        return problem("has a path; a prefix of keys is written ?prefix=/NAME");
    }
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => (&authority[..colon], Some(&authority[colon + 1..])),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    if !is_host {
        return problem("names no host; write https://HOST:2379, an IPv6 address in [ ]");
    }
    match port.map_or(Ok(2379), str::parse::<u16>) {
        Ok(port) if port != 0 => Ok(format!("{scheme}://{host}:{port}")),
        _ => problem("has a port that is none; write a number from 1 to 65535"),
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, LocationError> {
    Err(LocationError(message.into()))
}

/// As `--state` writes it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd:{}", self.endpoints.join(","))?;
        let mut parameters = Vec::new();
        let mut parameter = |name: &str, value: &dyn fmt::Display| parameters.push(format!("{name}={value}"));
        if self.keys.prefix() != Location::PREFIX {
            let prefix = self.keys.prefix();
            parameter("prefix", if prefix.is_empty() { &"/" } else { &prefix });
        }
        if let Some(file) = &self.cacert {
            parameter("cacert", &file.display());
        }
        if let Some(Identity { cert, key }) = &self.identity {
            parameter("cert", &cert.display());
            parameter("key", &key.display());
        }
        if let Some(user) = &self.user {
            parameter("user", &user.name);
            if let Some(file) = &user.password_file {
                parameter("password-file", &file.display());
            }
        }
        if parameters.is_empty() { Ok(()) } else { write!(f, "?{}", parameters.join("&")) }
    }
}

#[cfg(test)]
mod tests;
