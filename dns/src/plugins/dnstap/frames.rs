//! Frame Streams, as `fstrm` speaks it: the sender says what it has, the receiver takes it, then data flows.
//!
//! ```text
//! sender    READY(types)            START(type)  frame frame …  STOP
//! receiver                ACCEPT(types)                               FINISH
//! ```

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What is sent.
pub(super) const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// The most bytes of a control frame (fstrm's bound).
const MOST: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Accept = 1,
    Start = 2,
    Stop = 3,
    Ready = 4,
    Finish = 5,
}

/// A control frame: an empty data frame in front, then its length, its type and the content type.
pub(super) fn control(kind: Control, content_type: Option<&[u8]>) -> Vec<u8> {
    let mut body = (kind as u32).to_be_bytes().to_vec();
    if let Some(content_type) = content_type {
        // The only field that there is.
        body.extend_from_slice(&1u32.to_be_bytes());
        body.extend_from_slice(&(content_type.len() as u32).to_be_bytes());
        body.extend_from_slice(content_type);
    }
    [&0u32.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

/// Appends a data frame.
pub(super) fn frame(to: &mut Vec<u8>, payload: &[u8]) {
    to.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    to.extend_from_slice(payload);
}

/// Agrees with the receiver on what is sent.
pub(super) async fn begin(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&control(Control::Ready, Some(CONTENT_TYPE))).await?;
    stream.flush().await?;
    let body = read(stream).await?;
    if !body.starts_with(&(Control::Accept as u32).to_be_bytes()) {
        return Err(io::Error::other("the receiver does not accept"));
    }
    // Fields: type, length, content type. Without one all are taken.
    let mut rest = body.get(4..).unwrap_or_default();
    let mut is_taken = rest.is_empty();
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some((content_type, tail)) = tail.split_at_checked(length) else { break };
        is_taken |= head[..4] == 1u32.to_be_bytes() && content_type == CONTENT_TYPE;
        rest = tail;
    }
    if !is_taken {
        return Err(io::Error::other("the receiver takes something else than dnstap"));
    }
    stream.write_all(&control(Control::Start, Some(CONTENT_TYPE))).await?;
    stream.flush().await
}

/// Says that nothing follows, and waits until the receiver has it all.
pub(super) async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&control(Control::Stop, None)).await?;
    stream.flush().await?;
    let body = read(stream).await?;
    let is_finished = body.starts_with(&(Control::Finish as u32).to_be_bytes());
    if is_finished { Ok(()) } else { Err(io::Error::other("the receiver does not finish")) }
}

/// The body of the next frame, which must be a control frame.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let (escape, length) = (stream.read_u32().await?, stream.read_u32().await? as usize);
    if escape != 0 || !(4..=MOST).contains(&length) {
        return Err(io::Error::other("the receiver does not speak Frame Streams"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
