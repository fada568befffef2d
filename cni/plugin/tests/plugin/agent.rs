//! An agent that the test plays: it answers by the protocol's own functions.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bowline_cni_protocol::wire::{receive_request, send_reply};
use bowline_cni_protocol::{CniResult, Interface, IpConfig, Reply, Request, Route};

/// For a defect, not for a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What has been asked: the request, and the inode of the namespace that came beside it.
pub(crate) type Asked = Arc<Mutex<Vec<(Request, Option<u64>)>>>;

/// An agent at a socket of its own; it goes when dropped.
pub(crate) struct Agent {
    socket: PathBuf,
    asked: Asked,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Agent {
    /// One that answers as `answer` says; it hangs up where that is None.
    pub(crate) fn start(answer: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Agent {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cni.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Asked::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let (theirs, ends) = (Arc::clone(&asked), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for stream in listener.incoming() {
                    let stream = stream.unwrap();
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    // A plugin may hang up without a word, too.
                    let Ok((request, netns)) = receive_request(&stream, Instant::now() + PATIENCE) else { continue };
                    let inode = netns.map(|netns| File::from(netns).metadata().unwrap().ino());
                    theirs.lock().unwrap().push((request.clone(), inode));
                    let answer = &answer;
                    scope.spawn(move || {
                        if let Some(reply) = answer(&request) {
                            send_reply(&stream, &reply, Instant::now() + PATIENCE).unwrap();
                        }
                    });
                }
            });
        });
        Agent { socket, asked, is_over, thread: Some(thread), folder }
    }

    /// One that does all it is asked, and gives each ADD this result.
    pub(crate) fn that_adds(result: CniResult) -> Agent {
        Agent::start(move |request| Some(done(request, &result)))
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A folder of tombstones that isn't there yet.
    pub(crate) fn tombstones(&self) -> PathBuf {
        self.folder.path().join("tombstones")
    }

    /// What has been asked since the last time.
    pub(crate) fn asked(&self) -> Vec<(Request, Option<u64>)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The only request since the last time.
    pub(crate) fn asked_once(&self) -> (Request, Option<u64>) {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(UnixStream::connect(&self.socket));
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// What an agent answers that does all.
pub(crate) fn done(request: &Request, result: &CniResult) -> Reply {
    let is_add = request.command == bowline_cni_protocol::Command::Add;
    Reply::Done { result: is_add.then(|| result.clone()) }
}

/// What an ADD may have made.
pub(crate) fn a_result() -> CniResult {
    let interface = |name: &str, sandbox: &str| Interface {
        name: name.into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: Some(1400),
        sandbox: sandbox.into(),
        ..Interface::default()
    };
    let ip = |text: &str| IpConfig { address: text.parse().unwrap(), gateway: None, interface: Some(1) };
    CniResult {
        interfaces: vec![interface("veth1", ""), interface("eth0", "/run/netns/one")],
        ips: vec![ip("10.1.0.9/32"), ip("fd00::9/128")],
        routes: vec![Route { mtu: Some(1400), ..Route::new("0.0.0.0/0".parse().unwrap(), None) }],
        ..CniResult::default()
    }
}
