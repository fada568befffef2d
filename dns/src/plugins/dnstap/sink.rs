//! Writes messages to their receivers, on the thread of the house keeping.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::time::{sleep, timeout};

use super::connect::{Any, At, Endpoint, To};
use super::frames;
use bowline_observe::metrics::Counter;

/// An encoded message.
type Payload = Arc<[u8]>;

/// How long a receiver may take to connect, to agree and to take what is written.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long until a receiver that is not there is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often drops are told.
const TELL: Duration = Duration::from_secs(10);
/// Bytes that are written at once.
const BATCH: usize = 64 << 10;
/// Receivers that may be connected to one listener.
const RECEIVERS: usize = 64;

/// Takes messages, and never waits.
pub(super) struct Sink {
    queue: Queue,
    dropped: Arc<Counter>,
}

enum Queue {
    /// To the one that we connect to.
    One(mpsc::Sender<Payload>),
    /// To all that connect to us.
    All(broadcast::Sender<Payload>),
}

/// A sink, and the task that writes what it takes. The task ends when the sink is gone and all is written.
pub(super) fn start(
    endpoint: Endpoint,
    room: usize,
    dropped: Arc<Counter>,
) -> (Sink, impl Future<Output = ()> + Send + 'static) {
    let shown = endpoint.to_string();
    let (queue, work): (_, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) = match endpoint {
        Endpoint::Connect(to) => {
            let (sender, receiver) = mpsc::channel(room);
            (Queue::One(sender), Box::pin(write_to(to, shown, receiver)))
        }
        Endpoint::Listen(at) => {
            let (sender, receiver) = broadcast::channel(room);
            (Queue::All(sender), Box::pin(write_to_all(at, shown, receiver, dropped.clone())))
        }
    };
    let counted = dropped.clone();
    let task = async move {
        // A task of its own: it still writes when the instance has been replaced.
        tokio::spawn(work);
        tell(&counted).await;
    };
    (Sink { queue, dropped }, task)
}

impl Sink {
    pub(super) fn put(&self, payload: Payload) {
        match &self.queue {
            Queue::One(sender) => {
                if sender.try_send(payload).is_err() {
                    self.dropped.inc();
                }
            }
            // Nobody may be there.
            Queue::All(sender) => drop(sender.send(payload)),
        }
    }
}

/// Tells how many messages were dropped, while the instance serves.
async fn tell(dropped: &Counter) {
    let mut told = dropped.get();
    loop {
        sleep(TELL).await;
        let now = dropped.get();
        if now > told {
            tracing::warn!("plugin/dnstap: Dropped dnstap messages: {}", now - told);
            told = now;
        }
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects, again and again where that fails, and writes.
async fn write_to(to: To, shown: String, mut queue: mpsc::Receiver<Payload>) {
    let mut is_told = false;
    let mut bytes = Vec::new();
    loop {
        let opened = within(async {
            let mut stream = to.connect().await?;
            frames::begin(&mut stream).await?;
            Ok(stream)
        });
        let failed = match opened.await {
            Ok(mut stream) => {
                is_told = false;
                match write(&mut stream, &mut queue, &mut bytes).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if !is_told {
            tracing::warn!("plugin/dnstap: {shown} does not take messages: {failed}; trying again");
            is_told = true;
        }
        // The instance was replaced: there is nobody to wait for.
        if queue.is_closed() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Writes until the sink is gone. What was not written for certain stays in `bytes`, to be written again.
async fn write(stream: &mut Any, queue: &mut mpsc::Receiver<Payload>, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if bytes.is_empty() {
            let Some(payload) = queue.recv().await else { return within(frames::end(stream)).await };
            frames::frame(bytes, &payload);
        }
        while bytes.len() < BATCH {
            let Ok(payload) = queue.try_recv() else { break };
            frames::frame(bytes, &payload);
        }
        put(stream, bytes).await?;
        bytes.clear();
    }
}

async fn put(stream: &mut Any, bytes: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    within(async {
        stream.write_all(bytes).await?;
        stream.flush().await
    })
    .await
}

/// Takes receivers, and writes to each.
async fn write_to_all(at: At, shown: String, mut messages: broadcast::Receiver<Payload>, dropped: Arc<Counter>) {
    let listener = loop {
        match at.listen() {
            Ok(listener) => break listener,
            Err(error) => tracing::error!("plugin/dnstap: {shown} can't be served: {error}; trying again"),
        }
        tokio::select! {
            () = sleep(TELL) => {}
            () = gone(&mut messages) => return,
        }
    };
    let room = Arc::new(tokio::sync::Semaphore::new(RECEIVERS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = gone(&mut messages) => return,
        };
        let (accepted, permit) = match (accepted, room.clone().try_acquire_owned()) {
            (Ok(accepted), Ok(permit)) => (accepted, permit),
            (Ok(_), Err(_)) => continue,
            (Err(error), _) => {
                tracing::warn!("plugin/dnstap: {shown}: no receiver could be taken: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (messages, dropped, shown) = (messages.resubscribe(), dropped.clone(), shown.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = follow(accepted, messages, &dropped).await {
                tracing::info!("plugin/dnstap: {shown}: a receiver has gone: {error}");
            }
        });
    }
}

/// Waits until the sink is gone.
async fn gone(messages: &mut broadcast::Receiver<Payload>) {
    while !matches!(messages.recv().await, Err(broadcast::error::RecvError::Closed)) {}
}

/// Writes to one receiver. What it is too slow for is dropped, for it alone.
async fn follow(
    accepted: super::connect::Accepted,
    mut messages: broadcast::Receiver<Payload>,
    dropped: &Counter,
) -> io::Result<()> {
    let mut stream = within(async {
        let mut stream = accepted.shake_hands().await?;
        frames::begin(&mut stream).await?;
        Ok(stream)
    })
    .await?;
    let mut bytes = Vec::new();
    loop {
        match messages.recv().await {
            Ok(payload) => frames::frame(&mut bytes, &payload),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                dropped.add(missed);
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return within(frames::end(&mut stream)).await,
        }
        while bytes.len() < BATCH {
            let Ok(payload) = messages.try_recv() else { break };
            frames::frame(&mut bytes, &payload);
        }
        put(&mut stream, &bytes).await?;
        bytes.clear();
    }
}
