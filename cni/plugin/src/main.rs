//! `bowline-cni`: the CNI plugin. A container runtime starts it for each interface of each container; it asks the agent of
//! the node, prints what it said, and ends. Everything that takes thought is the agent's.
//!
//! Called as `loopback` it does instead what the reference plugin of that name does ([`loopback`]), for nodes that have none.

mod agent;
mod call;
mod ipam;
mod loopback;
mod netns;
mod output;

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use bowline_cni_protocol::{CniError, Command, Environment, MAX_MESSAGE, Version};
use serde_json::Value;

fn main() -> ExitCode {
    let environment = Environment::read(|name| std::env::var_os(name));
    if let Ok(None) = environment {
        eprintln!(
            "bowline-cni {}: the CNI plugin of Bowline, for a container runtime to start (CNI_COMMAND is not set). It speaks \
             CNI {} to {}.",
            env!("CARGO_PKG_VERSION"),
            Version::ALL[0],
            Version::NEWEST
        );
        return ExitCode::SUCCESS;
    }
    let input = read_input();
    let version = input.as_ref().map_or(Version::NEWEST, |input| version_of(&input.json));
    let outcome = match environment {
        Ok(Some(environment)) if environment.command == Command::Version => Ok(Some(output::versions(version))),
        Ok(Some(environment)) => input.and_then(|input| run(&environment, &input)),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        // A runtime that takes no result has none: what was made for it is to be removed, which it does by DEL.
        Ok(Some(result)) if output::print(&result) => ExitCode::SUCCESS,
        Ok(Some(_)) => ExitCode::FAILURE,
        Err(error) => {
            output::print(&error.to_json(version));
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked: as Bowline's plugin, or as `loopback` if that is the name it was called by.
fn run(environment: &Environment, input: &Input) -> Result<Option<Value>, CniError> {
    let name = std::env::args_os().next().unwrap_or_default();
    if Path::new(&name).file_name() == Some(OsStr::new("loopback")) {
        loopback::run(environment, &input.json)
    } else {
        call::run(environment, input)
    }
}

/// What came on standard input.
struct Input {
    /// As it came: it is what an IPAM plugin gets.
    bytes: Vec<u8>,
    json: Value,
}

fn read_input() -> Result<Input, CniError> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_MESSAGE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| CniError::new(CniError::IO, format!("standard input can't be read: {error}")))?;
    if bytes.len() > MAX_MESSAGE {
        let message = format!("the configuration on standard input is longer than {MAX_MESSAGE} bytes");
        return Err(CniError::new(CniError::DECODE, message));
    }
    let json = serde_json::from_slice(&bytes).map_err(|error| {
        CniError::new(CniError::DECODE, format!("the configuration on standard input is not JSON: {error}"))
    })?;
    Ok(Input { bytes, json })
}

/// The version that an answer is to have, also where the rest of the configuration is wrong.
fn version_of(json: &Value) -> Version {
    match json.get("cniVersion").map(Value::as_str) {
        None => Version::NEWEST,
        Some(version) => version.and_then(|version| version.parse().ok()).unwrap_or(Version::NEWEST),
    }
}
