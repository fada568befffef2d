//! Asks a primary over TCP: for the serial of a zone, and for all of it (RFC 5936).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wire::{Message, Name, Question, Rcode, Type, WireError, whole};
use crate::zone::{GatherError, Gathering, Zone};

/// How long a connection, and each message on it, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a primary gives nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrimaryError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Silent,
    #[error("a message is malformed: {0}")]
    Malformed(WireError),
    #[error("an answer to another question")]
    Foreign,
    #[error("it answers {0}")]
    Refused(Rcode),
    #[error("it has no such zone")]
    NoZone,
    #[error("a message without records")]
    Empty,
    #[error("the zone does not begin with its SOA")]
    NoSoaFirst,
    #[error(transparent)]
    Zone(#[from] GatherError),
}

/// A question to a primary.
struct Asked {
    stream: TcpStream,
    id: u16,
}

impl Asked {
    async fn new(to: SocketAddr, zone: &Name, rtype: Type) -> io::Result<Asked> {
        let mut stream = timeout(PATIENCE, TcpStream::connect(to)).await??;
        let mut message = Message { id: fastrand::u16(..), ..Message::default() };
        message.questions.push(Question::new(zone.clone(), rtype));
        let mut bytes = vec![0, 0];
        message.write(&mut bytes);
        let length = (bytes.len() - 2) as u16; // One question: below 300 bytes.
        bytes[..2].copy_from_slice(&length.to_be_bytes());
        timeout(PATIENCE, stream.write_all(&bytes)).await??;
        Ok(Asked { stream, id: message.id })
    }

    /// The next message of the answer.
    async fn next(&mut self) -> Result<Message, PrimaryError> {
        let read = async {
            let length = self.stream.read_u16().await?;
            let mut bytes = vec![0; usize::from(length)];
            self.stream.read_exact(&mut bytes).await?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = timeout(PATIENCE, read).await.map_err(|_| PrimaryError::Silent)??;
        whole::check(&bytes).map_err(PrimaryError::Malformed)?;
        let message = Message::read(&bytes).map_err(PrimaryError::Malformed)?;
        if message.id != self.id || !message.flags.qr() {
            return Err(PrimaryError::Foreign);
        }
        match message.rcode() {
            Rcode::NOERROR => Ok(message),
            rcode => Err(PrimaryError::Refused(rcode)),
        }
    }
}

/// The serial of a zone.
///
/// # Errors
/// The primary doesn't tell it, and why.
pub(super) async fn serial(of: SocketAddr, zone: &Name) -> Result<u32, PrimaryError> {
    let mut asked = Asked::new(of, zone, Type::SOA).await?;
    let answer = asked.next().await?;
    let soa = answer.answers.iter().find(|record| record.rtype == Type::SOA && record.name == *zone);
    soa.and_then(|soa| soa.data.to_soa()).map(|soa| soa.serial).ok_or(PrimaryError::NoZone)
}

/// A whole zone.
///
/// # Errors
/// The primary doesn't give it, and why.
pub(super) async fn zone(from: SocketAddr, zone: &Name) -> Result<Zone, PrimaryError> {
    let mut asked = Asked::new(from, zone, Type::AXFR).await?;
    let mut gathering = Gathering::new(zone);
    // The SOA stands first and last (RFC 5936 §2.2).
    let mut soas = 0;
    let mut count = 0_usize;
    loop {
        let message = asked.next().await?;
        if message.answers.is_empty() {
            return Err(PrimaryError::Empty);
        }
        for record in message.answers {
            if record.rtype == Type::SOA && record.name == *zone {
                soas += 1;
            } else if count == 0 {
                return Err(PrimaryError::NoSoaFirst);
            }
            count += 1;
            gathering.insert(record)?;
            if soas == 2 {
                return Ok(gathering.finish()?);
            }
        }
    }
}
