//! Messages over a real socket, and what is no message.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::*;
use crate::{CniError, CniResult, Command, NetConf};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn request(padding: usize) -> Request {
    let conf = json!({"name": "net", "type": "bowline-cni", "args": "x".repeat(padding)});
    Request {
        command: Command::Add,
        container_id: "one".into(),
        ifname: "eth0".into(),
        netns: Some("/run/netns/one".into()),
        args: [("K8S_POD_NAME".to_owned(), "web-1".to_owned())].into(),
        traceparent: Some("00-a-b-01".into()),
        config: NetConf::from_json(&conf).unwrap(),
        ipam: Some(CniResult::default()),
    }
}

/// Sends by another thread, since a socket's buffer is smaller than a message may be.
fn carry(padding: usize, file: Option<&File>) -> (Request, Option<OwnedFd>) {
    let (one, other) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| send_request(&one, &request(padding), file.map(|file| file.as_fd()), soon()).unwrap());
        receive_request(&other, soon()).unwrap()
    })
}

#[test]
fn a_request_comes_whole_with_its_file() {
    let file = File::open("/proc/self/ns/net").unwrap();
    for padding in [0, 1000, MAX_MESSAGE - 1000] {
        let (came, beside) = carry(padding, Some(&file));
        assert_eq!(came, request(padding));
        let beside = File::from(beside.unwrap());
        assert_eq!(beside.metadata().unwrap().ino(), file.metadata().unwrap().ino());
        assert_ne!(rustix::io::fcntl_getfd(&beside).unwrap(), rustix::io::FdFlags::empty(), "closed on exec");
    }
    assert!(carry(0, None).1.is_none());
}

#[test]
fn a_reply_comes_whole() {
    let (one, other) = UnixStream::pair().unwrap();
    let result = CniResult { dns: crate::Dns { domain: "a.b".into(), ..Default::default() }, ..CniResult::default() };
    let failed = CniError::new(CniError::FAILED, "no address is free").with_details("10.1.0.0/24");
    for reply in [Reply::DONE, Reply::Done { result: Some(result) }, Reply::Failed(failed)] {
        send_reply(&one, &reply, soon()).unwrap();
        assert_eq!(receive_reply(&other, soon()).unwrap(), reply);
    }
}

#[test]
fn a_longer_message_is_refused_at_both_ends() {
    let (one, other) = UnixStream::pair().unwrap();
    let refused = send_request(&one, &request(MAX_MESSAGE), None, soon());
    assert!(matches!(refused, Err(WireError::TooLong(length)) if length > MAX_MESSAGE), "{refused:?}");
    (&one).write_all(&u32::MAX.to_be_bytes()).unwrap();
    let refused = receive_reply(&other, soon());
    assert!(matches!(refused, Err(WireError::TooLong(4_294_967_295))), "{refused:?}");
}

#[test]
fn a_message_that_ends_early_is_told() {
    for sent in [&b""[..], b"\0\0", b"\0\0\0\x05{\"do"] {
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(sent).unwrap();
        drop(one);
        let got = receive_reply(&other, soon());
        assert!(matches!(got, Err(WireError::Closed)), "{got:?}");
    }
}

#[test]
fn what_is_no_message_is_told() {
    for text in ["", "{}", "null", "{\"done\":3}", "{\"failed\":{}}", "\u{1}"] {
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(&u32::try_from(text.len()).unwrap().to_be_bytes()).unwrap();
        (&one).write_all(text.as_bytes()).unwrap();
        let got = receive_reply(&other, soon());
        assert!(matches!(got, Err(WireError::Decode(_))), "{text}: {got:?}");
    }
}

#[test]
fn silence_ends_at_the_deadline() {
    let (one, other) = UnixStream::pair().unwrap();
    // A byte now and then does not put it off.
    (&one).write_all(b"\0").unwrap();
    let got = receive_reply(&other, Instant::now() + Duration::from_millis(50));
    assert!(matches!(got, Err(WireError::TimedOut)), "{got:?}");
    // Nobody reads: what the socket holds is less than the message.
    let sent = send_request(&one, &request(MAX_MESSAGE - 1000), None, Instant::now() + Duration::from_millis(50));
    assert!(matches!(sent, Err(WireError::TimedOut)), "{sent:?}");
}

#[test]
fn more_than_one_file_is_refused() {
    let files = [File::open("/proc/self/ns/net").unwrap(), File::open("/proc/self/ns/mnt").unwrap()];
    for count in [2, 3] {
        let (one, other) = UnixStream::pair().unwrap();
        let files: Vec<_> = files.iter().cycle().take(count).map(|file| file.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        assert!(beside.push(SendAncillaryMessage::ScmRights(&files)));
        let frame = [&b"\0\0\0\x04"[..], b"null"].concat();
        rustix::net::sendmsg(&one, &[IoSlice::new(&frame)], &mut beside, SendFlags::empty()).unwrap();
        let got = receive_request(&other, soon());
        assert!(matches!(got, Err(WireError::File)), "{got:?}");
    }
}

#[test]
fn nobody_there_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    assert!(matches!(connect(&path, soon()), Err(WireError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    drop(UnixListener::bind(&path).unwrap());
    assert!(
        matches!(connect(&path, soon()), Err(WireError::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
    );
}

#[test]
fn a_full_queue_of_calls_ends_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        match connect(&path, Instant::now() + Duration::from_millis(100)) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10);
    };
    assert!(matches!(error, WireError::TimedOut), "{error:?}");
}
