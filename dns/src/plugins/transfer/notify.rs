//! Tells secondaries that a zone has changed (RFC 1996).

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::{Rule, longest};
use crate::wire::{Message, Name, Opcode, Question, Rcode, Type, whole};

/// Secondaries that are told at the same time.
const AT_ONCE: usize = 32;
/// How often, and how long each time, an answer is waited for.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells the secondaries of the zones that come.
pub(super) async fn run(rules: Arc<[Rule]>, mut inbox: UnboundedReceiver<Name>) {
    let changes = futures_util::stream::poll_fn(move |context| inbox.poll_recv(context));
    let letters = changes.flat_map(|zone| {
        let rule = longest(&rules, &zone);
        let to = rule.map_or_else(Vec::new, |rule| rule.to.iter().map(|to| (zone.clone(), *to, rule.source)).collect());
        futures_util::stream::iter(to)
    });
    letters
        .for_each_concurrent(AT_ONCE, |(zone, to, source)| async move {
            match tell(&zone, to, source).await {
                Ok(()) => tracing::debug!(%zone, %to, "the secondary was told of the change"),
                Err(reason) => tracing::warn!(%zone, %to, %reason, "the secondary could not be told of the change"),
            }
        })
        .await;
    // The sender lives as long as the block; a task that ends would be no harm.
    poll_fn(|_| std::task::Poll::<()>::Pending).await;
}

/// Why a secondary could not be told.
#[derive(Debug, thiserror::Error)]
enum NotifyError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("no answer")]
    Silent,
    #[error("it answers {0}")]
    Refused(Rcode),
}

/// Sends one NOTIFY until it is answered.
async fn tell(zone: &Name, to: SocketAddr, source: Option<IpAddr>) -> Result<(), NotifyError> {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0)).await?;
    socket.connect(to).await?;
    let mut message = Message { id: fastrand::u16(..), ..Message::default() };
    message.flags = message.flags.with_opcode(Opcode::NOTIFY).with_aa(true);
    message.questions.push(Question::new(zone.clone(), Type::SOA));
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let mut last = NotifyError::Silent;
    for _ in 0..TRIES {
        match timeout(PATIENCE, ask(&socket, &bytes, message.id)).await {
            Ok(Ok(Rcode::NOERROR)) => return Ok(()),
            Ok(Ok(rcode)) => last = NotifyError::Refused(rcode),
            Ok(Err(error)) => last = error.into(),
            Err(_) => {}
        }
    }
    Err(last)
}

/// Sends the message and waits for its answer.
async fn ask(socket: &UdpSocket, bytes: &[u8], id: u16) -> std::io::Result<Rcode> {
    socket.send(bytes).await?;
    let mut answer = [0; 1024];
    loop {
        let length = socket.recv(&mut answer).await?;
        let message = answer.get(..length).filter(|bytes| whole::check(bytes).is_ok());
        let message = message.and_then(|bytes| Message::read(bytes).ok());
        if let Some(message) = message.filter(|message| message.id == id && message.flags.qr()) {
            return Ok(message.rcode());
        }
    }
}
