//! A block of fields, written.
//!
//! What every gRPC answer says, its content type and that all is well, goes
//! into the peer's table once and is one byte from then on. All else is said in
//! full each time and kept out of the table: it would drive those two out, and
//! a peer that keeps nothing has nothing to lose. Nothing is Huffman coded: the
//! bytes saved are fewer than those of a frame's header.

use super::{integer, table::FIXED, table::fixed_name};
use crate::Asked;

const KEPT: u8 = 0x40;
const INDEXED: u8 = 0x80;
/// An empty table from now on.
const RESIZED_TO_NOTHING: u8 = 0x20;
/// Room for the two with their 32 bytes each, and what peers start with.
const TABLE_BYTES_MIN: u32 = 4096;

const AUTHORITY: usize = 1;
const METHOD_GET: usize = 2;
const METHOD_POST: usize = 3;
const PATH: usize = 4;
const SCHEME_HTTP: usize = 6;
const SCHEME_HTTPS: usize = 7;
const STATUS: usize = 8;
/// With an index of their own.
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
const CONTENT_TYPE: usize = 31;

pub struct Encoder {
    /// The peer has a table for us.
    keeps: bool,
    /// It has to be told that we use none.
    resizes: bool,
    /// How many entries the table has, and which of them those two are.
    entries: usize,
    grpc: Option<usize>,
    well: Option<usize>,
}

// === impl Encoder ===

impl Encoder {
    pub fn new() -> Encoder {
        Encoder { keeps: true, resizes: false, entries: 0, grpc: None, well: None }
    }

    /// The peer's table has this size at most.
    pub fn resize(&mut self, bytes: u32) {
        if bytes < TABLE_BYTES_MIN && self.keeps {
            *self = Encoder { keeps: false, resizes: true, entries: 0, grpc: None, well: None };
        }
    }

    /// Before the first field of each block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.resizes) {
            out.push(RESIZED_TO_NOTHING);
        }
    }

    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        match STATUSES.iter().position(|known| *known == status) {
            Some(at) => integer::put(7, INDEXED, STATUS + at, out),
            None => {
                integer::put(4, 0, STATUS, out);
                out.extend([3, digit(status / 100), digit(status / 10), digit(status)]);
            }
        }
    }

    /// What comes before a request's fields.
    pub fn request(&mut self, asked: &Asked<'_>, out: &mut Vec<u8>) {
        let method = match asked.method {
            b"GET" => Some(METHOD_GET),
            b"POST" => Some(METHOD_POST),
            _ => None,
        };
        let scheme = match asked.scheme {
            b"http" => Some(SCHEME_HTTP),
            b"https" => Some(SCHEME_HTTPS),
            _ => None,
        };
        let path = (asked.path == b"/").then_some(PATH);
        for (whole, name, value) in [
            (method, METHOD_GET, asked.method),
            (scheme, SCHEME_HTTP, asked.scheme),
            (path, PATH, asked.path),
            (None, AUTHORITY, asked.authority),
        ] {
            match whole {
                Some(index) => integer::put(7, INDEXED, index, out),
                None => {
                    integer::put(4, 0, name, out);
                    text(value, out);
                }
            }
        }
    }

    /// `content-type: application/grpc`.
    pub fn grpc(&mut self, out: &mut Vec<u8>) {
        if let Some(at) = self.grpc {
            return self.indexed(at, out);
        }
        let kept = self.keep();
        integer::put(if kept { 6 } else { 4 }, if kept { KEPT } else { 0 }, CONTENT_TYPE, out);
        text(b"application/grpc", out);
        self.grpc = kept.then_some(self.entries);
    }

    /// `grpc-status: 0`.
    pub fn well(&mut self, out: &mut Vec<u8>) {
        if let Some(at) = self.well {
            return self.indexed(at, out);
        }
        let kept = self.keep();
        out.push(if kept { KEPT } else { 0 });
        text(b"grpc-status", out);
        text(b"0", out);
        self.well = kept.then_some(self.entries);
    }

    /// Any field, its name in lower case.
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        match fixed_name(name) {
            Some(index) => integer::put(4, 0, index, out),
            None => {
                out.push(0);
                text(name, out);
            }
        }
        text(value, out);
    }

    fn keep(&mut self) -> bool {
        self.entries += usize::from(self.keeps);
        self.keeps
    }

    /// The newest entry comes first, and each knows how many there were with it.
    fn indexed(&self, at: usize, out: &mut Vec<u8>) {
        integer::put(7, INDEXED, FIXED + 1 + self.entries - at, out);
    }
}

fn digit(number: u16) -> u8 {
    b'0' + u8::try_from(number % 10).expect("one digit")
}

fn text(text: &[u8], out: &mut Vec<u8>) {
    integer::put(7, 0, text.len(), out);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::Decoder;

    /// An answer's head and its end, as a client reads them.
    fn answer(encoder: &mut Encoder, decoder: &mut Decoder) -> (String, usize) {
        let (mut head, mut end) = (Vec::new(), Vec::new());
        encoder.begin(&mut head);
        encoder.status(200, &mut head);
        encoder.grpc(&mut head);
        encoder.begin(&mut end);
        encoder.well(&mut end);
        let mut told = String::new();
        for block in [&head, &end] {
            let field = |field: &crate::hpack::Entry| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                told += &format!("{}={} ", text(&field.name), text(&field.value));
            };
            decoder.decode(block, field).expect("a client understands it");
        }
        (told, head.len() + end.len())
    }

    const TOLD: &str = ":status=200 content-type=application/grpc grpc-status=0 ";

    #[test]
    fn an_answer_that_is_well_is_three_bytes_from_the_second_on() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        assert_eq!(answer(&mut encoder, &mut decoder).0, TOLD);
        for _ in 0..2 {
            assert_eq!(answer(&mut encoder, &mut decoder), (TOLD.to_owned(), 3));
        }
    }

    #[test]
    fn a_peer_without_a_table_is_told_everything_each_time() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        answer(&mut encoder, &mut decoder);
        encoder.resize(0);
        for _ in 0..2 {
            assert_eq!(answer(&mut encoder, &mut decoder).0, TOLD);
        }
    }

    #[test]
    fn statuses_without_an_index_are_said_in_digits() {
        let mut out = Vec::new();
        Encoder::new().status(431, &mut out);
        assert_eq!(out, b"\x08\x03431");
    }
}
