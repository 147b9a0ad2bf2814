//! What must hold for any bytes; see `fuzz/`.

use bytes::BytesMut;

use crate::{Decoder, Encoder, Error, Frame};

/// What a client sends: read the same in whatever pieces it comes, and the same
/// again after it was written by us.
pub fn frames(data: &[u8]) {
    let (whole, wrong) = read(data, data.len().max(1));
    for piece in [1, 7] {
        assert_eq!(read(data, piece), (whole.clone(), wrong.clone()), "in pieces of {piece}");
    }
    let (mut encoder, mut bytes) = (Encoder::default(), BytesMut::new());
    whole.iter().for_each(|frame| encoder.put(frame, &mut bytes));
    assert_eq!(read(&bytes, bytes.len().max(1)), (whole, None));
}

fn read(data: &[u8], piece: usize) -> (Vec<Frame>, Option<Error>) {
    let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
    let mut frames = Vec::new();
    for piece in data.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => push(&mut frames, frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Data comes in the pieces that it came in.
fn push(frames: &mut Vec<Frame>, frame: Frame) {
    if let Frame::Data { id, fin, bytes } = &frame {
        if let Some(Frame::Data { id: last, fin: ended @ false, bytes: before }) = frames.last_mut()
            && last == id
        {
            *before = [before, bytes].map(|part| &part[..]).concat().into();
            *ended = *fin;
            return;
        }
        if bytes.is_empty() && !fin {
            return;
        }
    }
    frames.push(frame);
}
