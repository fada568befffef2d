//! A way to an API server that says what it should not: by HTTP, through a real `kubectl proxy`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_lab::kubernetes::{ApiServer, Server};
use bowline_sources::kubernetes::{Access, Kubernetes, Wanted};

/// How often its threads look whether they should end.
const NAP: Duration = Duration::from_millis(20);

/// What comes of a request.
pub enum Act {
    /// It is passed on.
    Pass,
    /// This status, with this body.
    Refuse(u16, String),
    /// These lines with the status 200, and then the end of the answer.
    Say(String, Then),
    /// It is passed on, and of the answer only the lines for which this holds.
    Only(fn(&str) -> bool),
}

/// How an answer ends.
#[derive(Clone, Copy)]
pub enum Then {
    Close,
    /// In the middle.
    Cut,
    /// Not at all.
    Hang,
    /// Not at all: these lines come again and again.
    Again(&'static str),
}

type Rule = Box<dyn FnMut(&str) -> Act + Send>;

struct Shared {
    upstream: SocketAddr,
    rule: Mutex<Rule>,
    asked: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// It, and the `kubectl proxy` behind it.
pub struct Crooked {
    address: SocketAddr,
    shared: Arc<Shared>,
    folder: PathBuf,
    _kubectl: Server,
}

impl Crooked {
    /// With a rule for the path and query of each request.
    pub fn new(api: &ApiServer, rule: impl FnMut(&str) -> Act + Send + 'static) -> Crooked {
        Crooked::at(api, None, rule)
    }

    /// The same in another network namespace, of which this is the file: where the API server is.
    pub fn at(api: &ApiServer, netns: Option<&Path>, rule: impl FnMut(&str) -> Act + Send + 'static) -> Crooked {
        let folder = api.folder().to_owned();
        let log = folder.join("kubectl-proxy.log");
        let mut kubectl = Server::new("kubectl proxy", log.clone());
        let _ = std::fs::remove_file(&log);
        kubectl.start(&mut api.kubectl_command(&["proxy", "--port=0"]).unwrap()).unwrap();
        let mut upstream = None;
        kubectl
            .wait_until("its address", || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                upstream = text.lines().find_map(|line| line.strip_prefix("Starting to serve on ")?.parse().ok());
                upstream.is_some()
            })
            .unwrap();
        let shared = Shared {
            upstream: upstream.unwrap(),
            rule: Mutex::new(Box::new(rule)),
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let inner = shared.clone();
        // Threads are in the namespace of who starts them.
        let address = std::thread::scope(|scope| scope.spawn(|| listen(netns, inner)).join().unwrap());
        Crooked { address, shared, folder, _kubectl: kubectl }
    }

    /// From now on.
    pub fn rule(&self, rule: impl FnMut(&str) -> Act + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many requests so far have had this in them.
    pub fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|path| path.contains(part)).count()
    }

    pub fn access(&self) -> Access {
        let path = self.folder.join(format!("crooked-{}.kubeconfig", self.address.port()));
        let text = serde_json::json!({
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c",
        });
        std::fs::write(&path, text.to_string()).unwrap();
        Access { kubeconfig: Some(path), ..Access::default() }
    }

    pub fn source(&self) -> Kubernetes {
        Kubernetes::new(self.access(), Wanted::default())
    }
}

impl Drop for Crooked {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Takes connections, in this namespace.
fn listen(netns: Option<&Path>, shared: Arc<Shared>) -> SocketAddr {
    if let Some(netns) = netns {
        let netns = std::fs::File::open(netns).unwrap();
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(netns.as_fd(), kind).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let inner = shared.clone();
            if inner.ended.load(Ordering::Relaxed) {
                return;
            }
            // Who goes away is not waited for.
            std::thread::spawn(move || stream.and_then(|stream| serve(stream, &inner)));
        }
    });
    address
}

/// One request, and its answer; the connection ends with it.
fn serve(mut near: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(near.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.asked.lock().unwrap().push(path.clone());
    let act = (shared.rule.lock().unwrap())(&path);
    match act {
        Act::Refuse(code, body) => {
            let head = format!("HTTP/1.1 {code} No\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            near.write_all((head + &body).as_bytes())
        }
        Act::Say(text, then) => {
            near.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            chunk(&mut near, &text)?;
            match then {
                Then::Close => near.write_all(b"0\r\n\r\n"),
                Then::Cut => Ok(()),
                Then::Hang => hang(&mut reader, shared, &mut || Ok(())),
                Then::Again(text) => hang(&mut reader, shared, &mut || chunk(&mut near, text)),
            }
        }
        Act::Pass | Act::Only(_) => {
            let mut far = TcpStream::connect(shared.upstream)?;
            let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            far.write_all(head.replace("HTTP/1.1", "HTTP/1.0").as_bytes())?;
            far.set_read_timeout(Some(NAP))?;
            let Act::Only(keep) = act else { return pass(&far, &mut near, shared, |_, _| true) };
            pass(&far, &mut near, shared, |is_body, line| !is_body || keep(line))
        }
    }
}

fn chunk(near: &mut TcpStream, text: &str) -> std::io::Result<()> {
    if text.is_empty() { Ok(()) } else { near.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()) }
}

/// Until the other side has gone, or we have.
fn hang(
    reader: &mut BufReader<TcpStream>,
    shared: &Shared,
    tick: &mut dyn FnMut() -> std::io::Result<()>,
) -> std::io::Result<()> {
    reader.get_ref().set_read_timeout(Some(NAP))?;
    while !shared.ended.load(Ordering::Relaxed) {
        if matches!(reader.read(&mut [0]), Ok(0)) {
            break;
        }
        tick()?;
    }
    Ok(())
}

/// Passes on the lines of an answer, those that `keep` takes.
fn pass(
    far: &TcpStream,
    near: &mut TcpStream,
    shared: &Shared,
    keep: impl Fn(bool, &str) -> bool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(far);
    let (mut line, mut is_body) = (Vec::new(), false);
    while !shared.ended.load(Ordering::Relaxed) {
        let end = match reader.read_until(b'\n', &mut line) {
            Ok(_) => !line.ends_with(b"\n"),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                // Whether the other side is still there is seen when something is written.
                continue;
            }
            Err(error) => return Err(error),
        };
        if keep(is_body, &String::from_utf8_lossy(&line)) {
            near.write_all(&line)?;
        }
        is_body |= line == b"\r\n";
        line.clear();
        if end {
            break;
        }
    }
    Ok(())
}
