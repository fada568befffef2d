//! A runtime's call: checked, given to the agent, answered.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use bowline_cni_protocol::tombstone::{self, Tombstone};
use bowline_cni_protocol::wire::WireError;
use bowline_cni_protocol::{CniError, CniResult, Command, Environment, NetConf, Reply, Request, Version};
use serde_json::Value;

use crate::Input;
use crate::agent::ask;
use crate::ipam::Delegate;
use crate::netns;

/// How long an ADD may take if the configuration doesn't say. The agent has this time to become ready after a boot.
const ADD: Duration = Duration::from_secs(60);

/// Runtimes ask for the status often, and wait for the answer.
const STATUS: Duration = Duration::from_secs(2);

/// How long the others may take.
const OTHERS: Duration = Duration::from_secs(30);

/// How long the plugin at most tries to take back what it has given up, before it leaves that to a tombstone.
const TAKE_BACK: Duration = Duration::from_secs(5);

/// Does what a runtime asks; what is to be printed.
pub(crate) fn run(environment: &Environment, input: &Input) -> Result<Option<Value>, CniError> {
    let command = environment.command;
    let config = match command {
        Command::Del => NetConf::for_removal(&input.json)?,
        _ => NetConf::from_json(&input.json)?,
    };
    refuse_before(&config, command)?;
    let delegate = Delegate::of(&config, environment, &input.bytes)?;
    let mut request = Request {
        command,
        container_id: environment.container_id.clone(),
        ifname: environment.ifname.clone(),
        netns: environment.netns.clone(),
        args: environment.args.clone(),
        traceparent: environment.traceparent.clone(),
        config,
        ipam: None,
    };
    match command {
        Command::Add => add(&mut request, delegate.as_ref()).map(Some),
        Command::Del => both(|| delete(&request, OTHERS), delegate, Command::Del),
        Command::Check => {
            let netns = open_netns(&request)?;
            delegate.map_or(Ok(()), |delegate| delegate.run(Command::Check).map(drop))?;
            plain(&request, netns.as_ref(), OTHERS, CniError::TRY_AGAIN_LATER).map(|()| None)
        }
        Command::Gc => both(|| plain(&request, None, OTHERS, CniError::TRY_AGAIN_LATER), delegate, Command::Gc),
        Command::Status => both(|| plain(&request, None, STATUS, CniError::NOT_AVAILABLE), delegate, Command::Status),
        Command::Version => Ok(None),
    }
}

/// Commands that the configuration's version does not have.
pub(crate) fn refuse_before(config: &NetConf, command: Command) -> Result<(), CniError> {
    let since = match command {
        Command::Check => Version::V0_4_0,
        Command::Gc | Command::Status => Version::V1_1_0,
        Command::Add | Command::Del | Command::Version => Version::V0_1_0,
    };
    if config.cni_version < since {
        let (name, version) = (command.as_str(), config.cni_version);
        let message =
            format!("{name} is not part of CNI {version}, the configuration's cniVersion: it came with {since}");
        return Err(CniError::new(CniError::INCOMPATIBLE_VERSION, message));
    }
    Ok(())
}

fn open_netns(request: &Request) -> Result<Option<OwnedFd>, CniError> {
    request.netns.as_deref().map(netns::open).transpose()
}

/// The agent's part, then that of the IPAM plugin, also if the first went wrong; the first error counts.
fn both(
    agent: impl FnOnce() -> Result<(), CniError>,
    delegate: Option<Delegate<'_>>,
    command: Command,
) -> Result<Option<Value>, CniError> {
    let done = agent();
    let delegated = delegate.map_or(Ok(()), |delegate| delegate.run(command).map(drop));
    done.and(delegated).map(|()| None)
}

/// A command without a result.
fn plain(request: &Request, netns: Option<&OwnedFd>, limit: Duration, away: u32) -> Result<(), CniError> {
    match ask(request, netns.map(|netns| netns.as_fd()), limit) {
        Ok(Reply::Done { .. }) => Ok(()),
        Ok(Reply::Failed(error)) => Err(error),
        Err(gone) => Err(gone.error(away, request)),
    }
}

fn add(request: &mut Request, delegate: Option<&Delegate<'_>>) -> Result<Value, CniError> {
    let netns = open_netns(request)?;
    if let Some(delegate) = delegate {
        request.ipam = Some(delegate.add()?);
    }
    let added = ask_add(request, netns.as_ref());
    if let (Err(_), Some(delegate)) = (&added, delegate) {
        // The first error is the one to tell.
        let _ = delegate.run(Command::Del);
    }
    added.map(|result| result.to_version(request.config.cni_version))
}

/// An ADD that fails leaves nothing behind: older runtimes send no DEL after it.
fn ask_add(request: &Request, netns: Option<&OwnedFd>) -> Result<CniResult, CniError> {
    let limit = request.config.add_timeout().unwrap_or(ADD);
    match ask(request, netns.map(|netns| netns.as_fd()), limit) {
        Ok(Reply::Done { result: Some(result) }) => Ok(result),
        Ok(Reply::Done { result: None }) => {
            let _ = delete(&as_delete(request), TAKE_BACK.min(limit));
            Err(CniError::new(CniError::FAILED, "the agent answered ADD without a result: is it of another version?"))
        }
        Ok(Reply::Failed(error)) => Err(error),
        Err(gone) => {
            if gone.may_have_it {
                // It may finish what nobody waits for any more.
                let _ = delete(&as_delete(request), TAKE_BACK.min(limit));
            }
            Err(gone.error(CniError::TRY_AGAIN_LATER, request))
        }
    }
}

fn as_delete(request: &Request) -> Request {
    let mut delete = Request { command: Command::Del, ipam: None, ..request.clone() };
    delete.config.prev_result = None;
    delete
}

/// Has the agent remove an interface, or leaves a tombstone if it does not answer.
fn delete(request: &Request, limit: Duration) -> Result<(), CniError> {
    // A namespace that is gone, or none, needs nothing but to be forgotten.
    let netns = request.netns.as_deref().and_then(|path| netns::open(path).ok());
    let netns = netns.as_ref().map(|netns| netns.as_fd());
    let gone = match ask(request, netns, limit) {
        Ok(Reply::Done { .. }) => return Ok(()),
        Ok(Reply::Failed(error)) => return Err(error),
        Err(gone) => gone,
    };
    let folder = Path::new(request.config.tombstones());
    let tombstone = Tombstone {
        container_id: request.container_id.clone(),
        ifname: request.ifname.clone(),
        network: request.config.name.clone(),
    };
    tombstone::write(folder, &tombstone).map_err(|error| {
        let told = gone.error(CniError::IO, request);
        let message = format!("DEL can't be remembered in {}: {error}", folder.display());
        CniError::new(CniError::IO, message).with_details(told.to_string())
    })?;
    // An agent that began to listen in between has read the folder before the tombstone stood there.
    if !matches!(gone.error, WireError::TimedOut)
        && let Ok(Reply::Done { .. }) = ask(request, netns, TAKE_BACK)
    {
        // One that stays says what is so already.
        let _ = tombstone::remove(folder, &tombstone);
    }
    Ok(())
}
