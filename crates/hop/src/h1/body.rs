//! Bodies: taken out of their framing, and put into it again.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Malformed;
use crate::flow::Piece;

/// A chunk's size line, extensions included; trailers as a whole.
const SIZE_LINE_BYTES_MAX: usize = 256;
const TRAILER_BYTES_MAX: usize = 8 << 10;
const TRAILERS_MAX: usize = 32;

/// What is left of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    /// At the size of a chunk.
    Size,
    /// Within a chunk.
    Chunk(u64),
    /// At the line's end behind a chunk.
    ChunkEnd,
    Trailers,
    UntilEnd,
}

/// How a body is framed on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coder {
    /// As it is: its length was said, or the connection's end tells it.
    Plain,
    Chunked,
}

/// What a look at the input gave.
#[derive(Debug)]
pub enum Decoded {
    Piece(Piece),
    NeedMore,
    End,
}

// === impl Decoder ===

impl Decoder {
    pub const fn none() -> Decoder {
        Decoder(State::Done)
    }

    pub const fn length(length: u64) -> Decoder {
        Decoder(if length == 0 { State::Done } else { State::Length(length) })
    }

    pub const fn chunked() -> Decoder {
        Decoder(State::Size)
    }

    pub const fn until_end() -> Decoder {
        Decoder(State::UntilEnd)
    }

    pub fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// What was said about the length.
    pub fn said(&self) -> Option<u64> {
        match self.0 {
            State::Done => Some(0),
            State::Length(length) => Some(length),
            _ => None,
        }
    }

    /// The next piece of what is in `input`; `ended` if no more will come.
    pub fn decode(&mut self, input: &mut BytesMut, ended: bool) -> Result<Decoded, Malformed> {
        loop {
            match self.0 {
                State::Done => return Ok(Decoded::End),
                State::UntilEnd if input.is_empty() && ended => self.0 = State::Done,
                _ if input.is_empty() && ended => return Err(Malformed::CutOff),
                _ if input.is_empty() => return Ok(Decoded::NeedMore),
                State::UntilEnd => return Ok(data(input.split().freeze())),
                State::Length(left) => {
                    let (piece, left) = take(input, left);
                    self.0 = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(data(piece));
                }
                State::Chunk(left) => {
                    let (piece, left) = take(input, left);
                    self.0 = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(data(piece));
                }
                State::ChunkEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.0 = State::Size;
                    }
                    Some(_) => return Err(Malformed::Chunk),
                    None if input[0] != b'\r' || ended => return Err(Malformed::Chunk),
                    None => return Ok(Decoded::NeedMore),
                },
                State::Size => match line(input, SIZE_LINE_BYTES_MAX)? {
                    Some(line) => {
                        let size = size(&line)?;
                        self.0 = if size == 0 { State::Trailers } else { State::Chunk(size) };
                    }
                    None if ended => return Err(Malformed::CutOff),
                    None => return Ok(Decoded::NeedMore),
                },
                State::Trailers => match trailers(input)? {
                    Some(trailers) => {
                        self.0 = State::Done;
                        if !trailers.is_empty() {
                            return Ok(Decoded::Piece(Piece::Trailers(trailers)));
                        }
                    }
                    None if ended => return Err(Malformed::CutOff),
                    None => return Ok(Decoded::NeedMore),
                },
            }
        }
    }
}

impl fmt::Display for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            State::Done => f.write_str("none"),
            State::Length(length) => write!(f, "{length}"),
            State::UntilEnd => f.write_str("until end"),
            _ => f.write_str("chunked"),
        }
    }
}

fn data(bytes: Bytes) -> Decoded {
    Decoded::Piece(Piece::Data(bytes))
}

fn take(input: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    (input.split_to(here).freeze(), left - here as u64)
}

/// A line without its end.
fn line(input: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, Malformed> {
    let Some(at) = memchr::memchr(b'\n', &input[..input.len().min(max)]) else {
        return if input.len() >= max { Err(Malformed::Chunk) } else { Ok(None) };
    };
    if at == 0 || input[at - 1] != b'\r' {
        return Err(Malformed::Chunk);
    }
    let mut line = input.split_to(at + 1);
    line.truncate(at - 1);
    Ok(Some(line))
}

/// Hexadecimal digits, then perhaps extensions, which are left out.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (number, rest) = line.split_at(digits);
    let extension = rest.first().is_none_or(|byte| *byte == b';');
    let plain = rest.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t');
    if !(1..=15).contains(&digits) || !extension || !plain {
        return Err(Malformed::Chunk);
    }
    let digit = |byte: &u8| u64::from((*byte as char).to_digit(16).unwrap_or(0));
    Ok(number.iter().fold(0, |size, byte| size * 16 + digit(byte)))
}

fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let end = memchr::memmem::find(&input[..input.len().min(TRAILER_BYTES_MAX)], b"\r\n\r\n");
    let Some(end) = end else {
        return if input.len() >= TRAILER_BYTES_MAX { Err(Malformed::Chunk) } else { Ok(None) };
    };
    let raw = input.split_to(end + 4);
    // As in a head: a newline alone ends a line for some readers and not for others.
    if memchr::memchr_iter(b'\n', &raw).any(|at| at == 0 || raw[at - 1] != b'\r') {
        return Err(Malformed::Chunk);
    }
    let mut lines = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let Ok(httparse::Status::Complete((_, lines))) = httparse::parse_headers(&raw, &mut lines)
    else {
        return Err(Malformed::Chunk);
    };
    let mut map = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed::Chunk)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| Malformed::Chunk)?;
        // What frames or routes a message has no place behind it (RFC 9110 section 6.5.1).
        let framing =
            ["content-length", "transfer-encoding", "host", "connection", "te", "trailer"];
        if framing.contains(&name.as_str()) {
            return Err(Malformed::Chunk);
        }
        map.append(name, value);
    }
    Ok(Some(map))
}

// === impl Coder ===

impl Coder {
    pub fn data(self, bytes: &[u8], output: &mut BytesMut) {
        match self {
            _ if bytes.is_empty() => {}
            Coder::Plain => output.extend_from_slice(bytes),
            Coder::Chunked => {
                output.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
                output.extend_from_slice(bytes);
                output.extend_from_slice(b"\r\n");
            }
        }
    }

    pub fn end(self, trailers: Option<&HeaderMap>, output: &mut BytesMut) {
        if self == Coder::Plain {
            return;
        }
        output.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            output.extend_from_slice(name.as_str().as_bytes());
            output.extend_from_slice(b": ");
            output.extend_from_slice(value.as_bytes());
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All of the body, with its trailers behind a bar, and what is left.
    fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> Result<String, Malformed> {
        let (mut input, mut seen) = (BytesMut::new(), String::new());
        for (index, piece) in pieces.iter().enumerate() {
            input.extend_from_slice(piece);
            loop {
                match decoder.decode(&mut input, index + 1 == pieces.len())? {
                    Decoded::Piece(Piece::Data(data)) => seen += &String::from_utf8_lossy(&data),
                    Decoded::Piece(Piece::Trailers(map)) => seen += &format!("|{}", map.len()),
                    Decoded::NeedMore => break,
                    Decoded::End => {
                        return Ok(format!("{seen}/{}", String::from_utf8_lossy(&input)));
                    }
                }
            }
        }
        unreachable!("the end is an end or an error")
    }

    #[test]
    fn chunks_are_taken_out_of_their_framing() {
        let check = |text: &str, expected: Result<&str, Malformed>| {
            let seen = decode(Decoder::chunked(), &[text.as_bytes()]);
            assert_eq!(
                seen.as_ref().map(String::as_str).map_err(|error| *error),
                expected,
                "{text:?}"
            );
        };
        check("3\r\nabc\r\n0\r\n\r\nrest", Ok("abc/rest"));
        check("3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", Ok("abc0123456789/"));
        check("1\r\na\r\n0\r\nX: y\r\n\r\n", Ok("a|1/"));
        for bad in [
            "3\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n",
            "-1\r\n",
            "\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\nX: y\nY: z\r\n\r\n",
            "0\r\nX: y\n\nGET /next HTTP/1.1\r\n\r\n",
        ] {
            check(bad, Err(Malformed::Chunk));
        }
        check("3\r\nab", Err(Malformed::CutOff));
        check("0\r\n", Err(Malformed::CutOff));
    }

    #[test]
    fn a_length_is_kept_to_the_byte() {
        assert_eq!(decode(Decoder::length(3), &[b"ab", b"cd"]).as_deref(), Ok("abc/d"));
        assert_eq!(decode(Decoder::length(3), &[b"ab"]), Err(Malformed::CutOff));
        assert_eq!(decode(Decoder::until_end(), &[b"ab", b"cd"]).as_deref(), Ok("abcd/"));
    }

    proptest! {
        /// What is coded comes back, however it is cut.
        #[test]
        fn coding_and_decoding_is_nothing(bodies in proptest::collection::vec("[a-z]{1,40}", 0..8), cut in 0usize..400) {
            let mut coded = BytesMut::new();
            for body in &bodies { Coder::Chunked.data(body.as_bytes(), &mut coded); }
            Coder::Chunked.end(None, &mut coded);
            let cut = cut.min(coded.len());
            let seen = decode(Decoder::chunked(), &[&coded[..cut], &coded[cut..]]);
            prop_assert_eq!(seen, Ok(format!("{}/", bodies.concat())));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(Decoder::chunked(), &[&bytes]);
            let mut input = BytesMut::from(&bytes[..]);
            let bounds = super::super::head::Bounds { bytes: 4_096, headers: 8 };
            let _ = super::super::head::request(&mut input, &mut 0, bounds);
        }
    }
}
