//! One question on a socket of its own. It may run on any runtime, so health checks use it.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bowline_cluster::span::exact;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::check::{Asked, Came, Verdict};
use super::{By, Endpoint, ids, own_address, stream};

/// Asks one question, which has at most `time`, and gives the answer; `message` as for [`super::Upstream::ask`].
///
/// # Errors
/// What the system or the network say; TimedOut; InvalidInput for what is no question.
pub async fn ask(
    endpoint: &Endpoint,
    source: Option<IpAddr>,
    message: &[u8],
    by: By,
    time: Duration,
) -> io::Result<Vec<u8>> {
    let asked = Asked::new(message).ok_or(io::ErrorKind::InvalidInput)?;
    let mut message = message.to_vec();
    message[..2].copy_from_slice(&ids::id().to_be_bytes());
    let asking = async {
        if by == By::Udp && endpoint.tls.is_none() {
            by_datagram(endpoint, source, &message, &asked).await
        } else {
            by_stream(endpoint, source, &message, &asked).await
        }
    };
    timeout(time, asking).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("{}: no answer within {}", endpoint.address, exact(time))))
    })
}

async fn by_datagram(
    endpoint: &Endpoint,
    source: Option<IpAddr>,
    message: &[u8],
    asked: &Asked,
) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(own_address(source, endpoint.address)).await?;
    socket.connect(endpoint.address).await?;
    socket.send(message).await?;
    let mut bytes = vec![0; 4096];
    loop {
        // An ICMP error makes a socket ready without making it readable.
        if socket.ready(Interest::READABLE | Interest::ERROR).await?.is_error() {
            return Err(socket.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()));
        }
        let length = match socket.try_recv(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            received => received?,
        };
        let got = bytes.get(..length).unwrap_or_default();
        if got.get(..2) == message.get(..2)
            && let Some(answer) = judged(asked, got, Came::Datagram)?
        {
            return Ok(answer);
        }
    }
}

async fn by_stream(endpoint: &Endpoint, source: Option<IpAddr>, message: &[u8], asked: &Asked) -> io::Result<Vec<u8>> {
    let mut stream = stream::connect(endpoint, source).await?;
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    stream.flush().await?;
    loop {
        let mut got = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut got).await?;
        if got.get(..2) == message.get(..2)
            && let Some(answer) = judged(asked, &got, Came::Stream)?
        {
            return Ok(answer);
        }
    }
}

fn judged(asked: &Asked, message: &[u8], came: Came) -> io::Result<Option<Vec<u8>>> {
    match asked.judge(message, came) {
        Verdict::Answer(answer) | Verdict::Cut(answer, _) => Ok(Some(answer)),
        Verdict::Malformed(error) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("the answer is malformed: {error}")))
        }
        Verdict::Stub(_) | Verdict::Foreign => Ok(None),
    }
}
