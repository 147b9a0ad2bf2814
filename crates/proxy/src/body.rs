//! A request's body, kept whole so that it can be replayed.

use std::{future::poll_fn, task::Poll};

use bytes::{Bytes, BytesMut};
use hop::{Piece, Source};
use http::{HeaderMap, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use crate::refusal::Refusal;

/// Refuses what says of itself that it is larger than `bytes_max`.
pub(crate) fn check_said(headers: &HeaderMap, bytes_max: usize) -> Result<(), Refusal> {
    let said = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if said.is_some_and(|length| length > bytes_max as u64) {
        Err(too_large(bytes_max))
    } else {
        Ok(())
    }
}

/// Reads all of it, at most `bytes_max` and until `deadline`.
pub(crate) async fn collect(
    source: &mut Source<'_>,
    bytes_max: usize,
    deadline: Instant,
) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while !source.is_end() {
        let Ok(piece) = timeout_at(deadline, poll_fn(|cx| source.poll_piece(cx))).await else {
            let message = "the body did not arrive in time";
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, errors::BODY_TOO_SLOW, message));
        };
        let Ok(piece) = piece else {
            let message = "the body ended before it was complete";
            return Err(Refusal::bad_request(errors::BODY_BROKEN, message));
        };
        let data = match piece {
            Some(Piece::Data(data)) => data,
            // Trailers mean nothing to the ledger and are left out.
            Some(Piece::Trailers(_)) => continue,
            None => break,
        };
        if whole.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        // The usual body is one piece, which then needs no copy.
        if whole.is_empty() && source.is_end() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Leaves out what has come, at most `bytes_max` of it; whether that was all.
pub(crate) async fn skip(source: &mut Source<'_>, bytes_max: usize) -> bool {
    let mut skipped = 0;
    poll_fn(|cx| {
        while skipped <= bytes_max && !source.is_end() {
            match source.poll_piece(cx) {
                Poll::Ready(Ok(Some(Piece::Data(data)))) => skipped += data.len(),
                Poll::Ready(Ok(Some(Piece::Trailers(_)) | None)) => {}
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(source.is_end())
    })
    .await
}

fn too_large(bytes_max: usize) -> Refusal {
    let message = format!("the body is larger than {bytes_max} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, errors::BODY_TOO_LARGE, message)
}
