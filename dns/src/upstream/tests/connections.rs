//! Servers that answer in order, that close, and that take few connections: what becomes of the questions.

use std::cell::Cell;
use std::rc::Rc;

use bowline_lab::kubernetes::Authority;
use futures_util::{FutureExt as _, StreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::upstream::connection::Stream;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It doesn't.
    Never,
    /// Closed behind so many answers; by TLS with its word for it.
    Closed(usize),
    /// The same by TLS without that word.
    Cut(usize),
    /// Reset behind so many answers.
    Reset(usize),
    /// So many answers, and the next question finds it closed: as when a server's patience ends just then.
    Race(usize),
    /// Behind so many answers it sends no more, though it goes on reading.
    Half(usize),
}

/// A server that answers each connection's questions in order. Names that begin with "slow" wait for `release`.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    state: Rc<Inside>,
}

struct Inside {
    end: Cell<End>,
    tls: Option<TlsAcceptor>,
    /// Connections that are closed before, or within, their handshake.
    refused: Cell<usize>,
    /// How many connections are served at a time, and whether further ones are closed, or left standing.
    room: Semaphore,
    closes_others: Cell<bool>,
    /// So many of those that were held.
    released: watch::Sender<usize>,
    connections: Cell<usize>,
    held: Cell<usize>,
    resumed: Cell<usize>,
}

impl Peer {
    fn start(end: End, tls: Option<TlsAcceptor>) -> Peer {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // Clients are on the same thread, and connect faster than it accepts.
        let listener = socket.listen(2048).unwrap();
        let state = Rc::new(Inside {
            end: Cell::new(end),
            tls,
            refused: Cell::new(0),
            room: Semaphore::new(Semaphore::MAX_PERMITS),
            closes_others: Cell::new(false),
            released: watch::channel(0).0,
            connections: Cell::new(0),
            held: Cell::new(0),
            resumed: Cell::new(0),
        });
        let peer = Peer { address: listener.local_addr().unwrap(), state };
        tokio::task::spawn_local(peer.clone().accept(listener));
        peer
    }

    fn taking(self, most: usize, closes_others: bool) -> Peer {
        self.state.room.forget_permits(Semaphore::MAX_PERMITS - most);
        self.state.closes_others.set(closes_others);
        self
    }

    async fn accept(self, listener: tokio::net::TcpListener) {
        let state = &self.state;
        loop {
            if !state.closes_others.get() {
                drop(state.room.acquire().await.unwrap());
            }
            let (stream, _) = listener.accept().await.unwrap();
            if state.room.available_permits() == 0 {
                continue;
            }
            state.connections.set(state.connections.get() + 1);
            let peer = self.clone();
            // Room is taken before the next is accepted.
            state.room.try_acquire().unwrap().forget();
            tokio::task::spawn_local(async move {
                peer.serve(stream).await;
                peer.state.room.add_permits(1);
            });
        }
    }

    async fn serve(&self, mut stream: tokio::net::TcpStream) {
        stream.set_nodelay(true).unwrap();
        let state = &self.state;
        if state.refused.get() > 0 {
            state.refused.set(state.refused.get() - 1);
            if state.tls.is_some() {
                let _ = stream.read(&mut [0; 16]).await;
            }
            return;
        }
        let mut stream: Box<dyn Stream> = match &state.tls {
            None => Box::new(stream),
            Some(acceptor) => {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                    state.resumed.set(state.resumed.get() + 1);
                }
                Box::new(stream)
            }
        };
        let mut count = 0;
        while let Ok(length) = stream.read_u16().await {
            let mut message = vec![0; usize::from(length)];
            if stream.read_exact(&mut message).await.is_err() {
                return;
            }
            let end = state.end.get();
            match end {
                End::Race(most) if count >= most => return,
                // It reads, and says nothing.
                End::Half(most) if count >= most => continue,
                _ => {}
            }
            let message = Message::read(&message).unwrap();
            if message.questions[0].name.to_string().starts_with("slow") {
                let turn = state.held.get() + 1;
                state.held.set(turn);
                let mut released = state.released.subscribe();
                if released.wait_for(|released| *released >= turn).await.is_err() {
                    return;
                }
            }
            let answer = good(&Seen { message, by: By::Tcp, from: self.address }, 1).remove(0);
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            count += 1;
            match end {
                End::Closed(most) if count >= most => {
                    let _ = stream.shutdown().await;
                    return;
                }
                End::Cut(most) if count >= most => return,
                End::Half(most) if count == most => {
                    let _ = stream.shutdown().await;
                }
                // What comes and is not read has the kernel answer a close with a reset.
                End::Reset(most) if count >= most => {
                    let _ = tokio::time::timeout(Duration::from_millis(20), stream.read_u16()).await;
                    return;
                }
                _ => {}
            }
        }
    }

    fn upstream(&self, tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>) -> Arc<Upstream> {
        let settings = Settings { timeout: Duration::from_secs(20), ..Settings::default() };
        Upstream::new(Endpoint { address: self.address, tls }, settings, None)
    }
}

/// Both sides of TLS.
fn tls() -> (TlsAcceptor, (Arc<rustls::ClientConfig>, ServerName<'static>)) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "upstreams").unwrap();
    let own = authority.server("own", &["dns.example.org"], &[]).unwrap();
    let read = |path: &std::path::Path| CertificateDer::from_pem_file(path).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![read(&own.certificate)], PrivateKeyDer::from_pem_file(&own.key).unwrap())
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(read(&authority.certificate())).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), (Arc::new(client), "dns.example.org".try_into().unwrap()))
}

/// Asks so many quick names, so many at a time; gives what went wrong.
async fn ask_many(upstream: &Arc<Upstream>, count: usize, at_a_time: usize) -> Vec<UpstreamError> {
    let asking = (0..count).map(|n| {
        let asked = bytes(&question(&format!("quick-{n}.example.org."), Type::A));
        async move { upstream.ask(&asked, By::Tcp).await.err() }
    });
    futures_util::stream::iter(asking).buffer_unordered(at_a_time).filter_map(std::future::ready).collect().await
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn slow_names_hold_up_no_other_and_connections_are_used_again() {
    let (acceptor, client) = tls();
    for with_tls in [false, true] {
        run(async {
            let peer = Peer::start(End::Never, with_tls.then(|| acceptor.clone()));
            let upstream = peer.upstream(with_tls.then(|| client.clone()));
            let slow: Vec<_> = (0..10)
                .map(|n| {
                    let asked = bytes(&question(&format!("slow-{n}.example.org."), Type::A));
                    let upstream = upstream.clone();
                    tokio::task::spawn_local(async move { upstream.ask(&asked, By::Tcp).await })
                })
                .collect();
            until("all are held", || peer.state.held.get() == 10).await;
            assert!(ask_many(&upstream, 200, 20).await.is_empty());
            assert!(slow.iter().all(|slow| !slow.is_finished()));
            // One each for what is out at a time, and one more for a slow one that was asked by another too.
            let most = 10 + 20 + 10;
            assert!(peer.state.connections.get() <= most, "{}", peer.state.connections.get());
            assert!(ask_many(&upstream, 200, 20).await.is_empty() && ask_many(&upstream, 50, 1).await.is_empty());
            peer.state.released.send_replace(usize::MAX);
            for slow in slow {
                assert!(slow.await.unwrap().is_ok());
            }
            assert!(ask_many(&upstream, 200, 20).await.is_empty());
            // What a slow one was asked by besides may have been closed.
            assert!(peer.state.connections.get() <= most + 10, "{}", peer.state.connections.get());
        });
    }
}

/// That a slow name is asked by another connection besides, and that one given up, says nothing of what a server takes.
#[test]
fn slow_names_at_new_connections_do_not_bound_them() {
    run(async {
        let peer = Peer::start(End::Never, None);
        let upstream = peer.upstream(None);
        let slow = |range: std::ops::Range<usize>| -> Vec<_> {
            let ask = |n| {
                let asked = bytes(&question(&format!("slow-{n}.example.org."), Type::A));
                let upstream = upstream.clone();
                tokio::task::spawn_local(async move { upstream.ask(&asked, By::Tcp).await })
            };
            range.map(ask).collect()
        };
        let held = &peer.state.held;
        // One connection has answered. Others are open, but those for whom they were are gone.
        assert!(ask_many(&upstream, 1, 1).await.is_empty());
        let mut slow_ones = slow(0..1);
        until("the first is held", || held.get() == 1).await;
        for n in 0..10 {
            let asked = bytes(&question(&format!("gone-{n}.example.org."), Type::A));
            assert!(upstream.ask(&asked, By::Tcp).now_or_never().is_none());
        }
        until("they are open", || upstream.idle.load(Ordering::Relaxed) == 10).await;
        slow_ones.extend(slow(1..5));
        let began = std::time::Instant::now();
        while held.get() < 9 {
            assert!(began.elapsed() < Duration::from_secs(20), "{} are held", held.get());
            assert!(ask_many(&upstream, 1, 1).await.is_empty());
        }
        // By their first connections they are answered, by their second ones not.
        peer.state.released.send_replace(5);
        for slow in slow_ones {
            assert!(slow.await.unwrap().is_ok());
        }
        let (before, slow_ones) = (held.get(), slow(5..35));
        until("each has a connection", || held.get() >= before + 30).await;
        assert!(ask_many(&upstream, 100, 20).await.is_empty());
        peer.state.released.send_replace(usize::MAX);
        for slow in slow_ones {
            assert!(slow.await.unwrap().is_ok());
        }
    });
}

#[test]
fn what_is_out_when_a_connection_ends_is_asked_again() {
    let (acceptor, client) = tls();
    use End::{Closed, Cut, Half, Race, Reset};
    let ends = [Closed(1), Closed(3), Cut(1), Cut(3), Reset(1), Reset(3), Race(1), Race(3), Half(1), Half(3)];
    for with_tls in [false, true] {
        for end in ends {
            run(async {
                let peer = Peer::start(end, with_tls.then(|| acceptor.clone()));
                let upstream = peer.upstream(with_tls.then(|| client.clone()));
                // Handshakes take their time.
                let many = if with_tls { 20 } else { 100 };
                for (count, at_a_time) in [(5, 1), (many, 20)] {
                    let wrong = ask_many(&upstream, count, at_a_time).await;
                    assert!(wrong.is_empty(), "{end:?}, TLS {with_tls}, {at_a_time} at a time: {wrong:?}");
                }
            });
        }
    }
}

#[test]
fn a_handshake_that_is_broken_off_is_made_again_and_sessions_are_resumed() {
    let (acceptor, client) = tls();
    for with_tls in [false, true] {
        run(async {
            let peer = Peer::start(End::Closed(1), with_tls.then(|| acceptor.clone()));
            let upstream = peer.upstream(with_tls.then(|| client.clone()));
            for broken in [1, 2, 0] {
                peer.state.refused.set(broken);
                assert!(ask_many(&upstream, 1, 1).await.is_empty(), "{broken}, TLS {with_tls}");
            }
            // One that takes none at all is given up.
            peer.state.refused.set(usize::MAX);
            let before = peer.state.refused.get();
            assert_eq!(ask_many(&upstream, 1, 1).await.len(), 1);
            assert!((2..=5).contains(&(before - peer.state.refused.get())));
            peer.state.refused.set(0);
            assert!(ask_many(&upstream, 20, 1).await.is_empty());
            assert_eq!(peer.state.resumed.get() >= 10, with_tls, "{}", peer.state.resumed.get());
        });
    }
}

#[test]
fn a_server_that_takes_few_connections_is_asked_by_those() {
    let (acceptor, client) = tls();
    for with_tls in [false, true] {
        for most in [1, 3] {
            for closes_others in [false, true] {
                run(async {
                    let peer = Peer::start(End::Never, with_tls.then(|| acceptor.clone())).taking(most, closes_others);
                    let upstream = peer.upstream(with_tls.then(|| client.clone()));
                    for at_a_time in [1, 20, 20] {
                        let wrong = ask_many(&upstream, 100, at_a_time).await;
                        assert!(wrong.is_empty(), "{most}, {closes_others}, TLS {with_tls}: {wrong:?}");
                    }
                });
            }
        }
    }
}

#[test]
fn idle_connections_are_bounded_and_expire() {
    run(async {
        let peer = Peer::start(End::Never, None);
        let settings = Settings {
            max_open: Some(3),
            idle: Duration::from_millis(300),
            timeout: Duration::from_secs(20),
            ..Settings::default()
        };
        let upstream = Upstream::new(Endpoint { address: peer.address, tls: None }, settings, None);
        assert!(ask_many(&upstream, 100, 20).await.is_empty());
        until("so many are kept", || upstream.connections.load(Ordering::Relaxed) <= 3).await;
        until("none is", || upstream.connections.load(Ordering::Relaxed) == 0).await;
        assert_eq!(upstream.idle.load(Ordering::Relaxed), 0);
    });
}

/// However many questions are out, there is an end to connections; those above it share.
#[test]
fn there_is_an_end_to_connections_and_all_questions_are_answered() {
    // Both ends are files of this process.
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    run(async {
        let most = crate::upstream::connections::bound();
        let peer = Peer::start(End::Never, None);
        let upstream = peer.upstream(None);
        let asking: Vec<_> = (0..most + 200)
            .map(|n| {
                let asked = bytes(&question(&format!("slow-{n}.example.org."), Type::A));
                let upstream = upstream.clone();
                tokio::task::spawn_local(async move { upstream.ask(&asked, By::Tcp).await })
            })
            .collect();
        let is_settled = || crate::upstream::connections::is_settled(&upstream);
        // Other tests have connections too, and may take part of what may be open.
        until("as many are open as may be", || peer.state.held.get() >= most / 2 && is_settled()).await;
        peer.state.released.send_replace(usize::MAX);
        for one in asking {
            one.await.unwrap().unwrap();
        }
        assert!(peer.state.connections.get() <= most, "{} of {most}", peer.state.connections.get());
    });
}
