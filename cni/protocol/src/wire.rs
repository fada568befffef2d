//! The socket between plugin and agent, from both ends.
//!
//! A message is its length (u32, big endian, [`MAX_MESSAGE`] at most) and as many bytes of JSON. The plugin connects, sends
//! one [`Request`] and reads one [`Reply`]; then both hang up. The open network namespace goes beside the request's first
//! byte (SCM_RIGHTS), so that an agent in a container needs to see none of the runtime's mounts.
//!
//! Each function blocks until it is done or `deadline` has come.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::MAX_MESSAGE;
use crate::request::{Reply, Request};

/// What goes wrong between plugin and agent.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The system's refusal.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other end has hung up before the message was whole.
    #[error("the other end has hung up")]
    Closed,
    /// The deadline has come.
    #[error("no answer in time")]
    TimedOut,
    /// A message is longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is longer than {MAX_MESSAGE}")]
    TooLong(usize),
    /// A message is not what it should be.
    #[error("a message that can't be read: {0}")]
    Decode(serde_json::Error),
    /// More than one open file came, or one that could not be taken (too many open files).
    #[error("the open file beside the request could not be taken")]
    File,
    /// The other end is not root's.
    #[error("it belongs to user {0}, not to root")]
    NotRoot(u32),
}

/// Connects to the agent, which must be root's. What SO_PEERCRED says is that of who made the socket listen.
///
/// It must be used by the plugin alone: rustix can't tell a peer whose PID namespace is not to be seen from this one (pid 0),
/// as a runtime's is not from a container's. The agent needs no such look: its socket is root's, with mode 0600.
///
/// # Errors
/// Of the system if nobody listens there; [`WireError::TimedOut`] if nobody takes the call.
pub fn connect(path: &Path, deadline: Instant) -> Result<UnixStream, WireError> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(io::Error::from)?;
    // The kernel waits so long where the queue of calls is full (unix_stream_connect in net/unix/af_unix.c).
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left(deadline)?)).map_err(io::Error::from)?;
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    rustix::net::connect(&socket, &address).map_err(|error| timed_out(error.into()))?;
    let peer = sockopt::socket_peercred(&socket).map_err(io::Error::from)?;
    if !peer.uid.is_root() {
        return Err(WireError::NotRoot(peer.uid.as_raw()));
    }
    Ok(UnixStream::from(socket))
}

/// Sends a request, and the open network namespace if there is one.
///
/// # Errors
/// See [`WireError`].
pub fn send_request(
    stream: &UnixStream,
    request: &Request,
    netns: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<(), WireError> {
    send(stream, request, netns, deadline)
}

/// Receives a request, and the open network namespace that came beside it.
///
/// # Errors
/// See [`WireError`].
pub fn receive_request(stream: &UnixStream, deadline: Instant) -> Result<(Request, Option<OwnedFd>), WireError> {
    receive(stream, deadline)
}

/// Sends a reply.
///
/// # Errors
/// See [`WireError`].
pub fn send_reply(stream: &UnixStream, reply: &Reply, deadline: Instant) -> Result<(), WireError> {
    send(stream, reply, None, deadline)
}

/// Receives a reply.
///
/// # Errors
/// See [`WireError`].
pub fn receive_reply(stream: &UnixStream, deadline: Instant) -> Result<Reply, WireError> {
    // Files have no place in a reply: one that came is closed.
    receive(stream, deadline).map(|(reply, _)| reply)
}

fn left(deadline: Instant) -> Result<Duration, WireError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(WireError::TimedOut) } else { Ok(left) }
}

fn timed_out(error: io::Error) -> WireError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => WireError::TimedOut,
        _ => WireError::Io(error),
    }
}

/// A step that the system has broken off is taken again.
fn again<T>(mut step: impl FnMut() -> Result<io::Result<T>, WireError>) -> Result<T, WireError> {
    loop {
        match step()? {
            Ok(done) => return Ok(done),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed_out(error)),
        }
    }
}

fn send(
    stream: &UnixStream,
    message: &impl Serialize,
    file: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<(), WireError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(WireError::Decode)?;
    let length = frame.len() - 4;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_MESSAGE).ok_or(WireError::TooLong(length))?;
    frame[..4].copy_from_slice(&prefix.to_be_bytes());
    let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    let mut sent = again(|| {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(WireError::File);
        }
        let sent = rustix::net::sendmsg(stream, &[IoSlice::new(&frame)], &mut beside, SendFlags::NOSIGNAL);
        Ok(sent.map_err(io::Error::from))
    })?;
    // The file went with the first byte.
    while sent < frame.len() {
        sent += again(|| {
            stream.set_write_timeout(Some(left(deadline)?))?;
            Ok((&*stream).write(&frame[sent..]))
        })?;
    }
    Ok(())
}

fn receive<T: DeserializeOwned>(stream: &UnixStream, deadline: Instant) -> Result<(T, Option<OwnedFd>), WireError> {
    let (mut prefix, mut got, mut files) = ([0; 4], 0, Vec::new());
    while got < prefix.len() {
        got += again(|| {
            stream.set_read_timeout(Some(left(deadline)?))?;
            read_with_files(stream, &mut prefix[got..], &mut files)
        })?;
    }
    let length = u32::from_be_bytes(prefix) as usize;
    if length > MAX_MESSAGE {
        return Err(WireError::TooLong(length));
    }
    if files.len() > 1 {
        return Err(WireError::File);
    }
    let (mut message, mut got) = (vec![0; length], 0);
    while got < length {
        let read = again(|| {
            stream.set_read_timeout(Some(left(deadline)?))?;
            Ok((&*stream).read(&mut message[got..]))
        })?;
        if read == 0 {
            return Err(WireError::Closed);
        }
        got += read;
    }
    Ok((serde_json::from_slice(&message).map_err(WireError::Decode)?, files.pop()))
}

/// One read, and the files that came beside it.
fn read_with_files(
    stream: &UnixStream,
    into: &mut [u8],
    files: &mut Vec<OwnedFd>,
) -> Result<io::Result<usize>, WireError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = match rustix::net::recvmsg(stream, &mut [IoSliceMut::new(into)], &mut beside, flags) {
        Ok(received) => received,
        Err(error) => return Ok(Err(error.into())),
    };
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            files.extend(came);
        }
    }
    // The kernel has kept back files that there was no room for, here or in our table of files.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(WireError::File);
    }
    if received.bytes == 0 {
        return Err(WireError::Closed);
    }
    Ok(Ok(received.bytes))
}

#[cfg(test)]
mod tests;
