//! Frames of WebSockets (RFC 6455 section 5.2) on their way from an agent: where
//! one ends, so that another can be put behind it.

const OPCODE_BINARY: u8 = 2;
const OPCODE_CLOSE: u8 = 8;

/// Normal closure, after which clients believe what they were told before.
const CLOSE_NORMAL: u16 = 1000;

/// The longest head: two bytes, a long length, a mask.
const HEAD_MAX: usize = 14;

/// Where in a stream of frames we are.
#[derive(Debug, Default)]
pub(crate) struct Boundary {
    head: [u8; HEAD_MAX],
    head_len: usize,
    payload_left: u64,
    /// Between the frames of one message.
    inside: bool,
    closed: bool,
}

// === impl Boundary ===

impl Boundary {
    /// `bytes` were passed on.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
                let skipped = skipped.min(bytes.len());
                self.payload_left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.head_len] = bytes[0];
            self.head_len += 1;
            bytes = &bytes[1..];
            if self.head_len == head_len(&self.head[..self.head_len]) {
                self.begin();
            }
        }
    }

    /// A message may be put in here.
    pub(crate) fn is_clear(&self) -> bool {
        self.head_len == 0 && self.payload_left == 0 && !self.inside && !self.closed
    }

    fn begin(&mut self) {
        let (first, second) = (self.head[0], self.head[1]);
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        // Frames of control come whole, also between those of a message.
        if opcode < OPCODE_CLOSE {
            self.inside = !fin;
        }
        self.closed |= opcode == OPCODE_CLOSE;
        self.payload_left = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => {
                let long = self.head[2..10].try_into().expect("eight bytes of the head");
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        self.head_len = 0;
    }
}

/// How long a head is, as far as its first bytes tell.
fn head_len(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    2 + length + mask
}

/// A message on a channel.
pub(crate) fn message(channel: u8, text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len() + 1).expect("our own words are short");
    let mut frame = vec![0x80 | OPCODE_BINARY, 126];
    frame.extend_from_slice(&len.to_be_bytes());
    frame.push(channel);
    frame.extend_from_slice(text.as_bytes());
    frame
}

pub(crate) fn close() -> Vec<u8> {
    let [high, low] = CLOSE_NORMAL.to_be_bytes();
    vec![0x80 | OPCODE_CLOSE, 2, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear_after(bytes: &[u8], step: usize) -> bool {
        let mut boundary = Boundary::default();
        bytes.chunks(step).for_each(|piece| boundary.pass(piece));
        boundary.is_clear()
    }

    #[test]
    fn the_end_of_a_message_is_found_in_any_cut() {
        let short = [0x82, 3, 1, b'h', b'i'];
        let long = message(3, &"x".repeat(300));
        let longest = [[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0].as_slice(), &[7; 65_536]].concat();
        let masked = [0x82, 0x81, 1, 2, 3, 4, 9];
        for step in [1, 2, 3, 1000] {
            for whole in [&short[..], &long, &longest, &masked] {
                assert!(clear_after(whole, step));
                assert!(clear_after(&[whole, &short].concat(), step));
                assert!(!clear_after(&whole[..whole.len() - 1], step));
                assert!(!clear_after(&whole[..1], step));
            }
            // A ping between two parts of a message.
            let parts = [0x02, 1, 1, 0x89, 0];
            assert!(!clear_after(&parts, step));
            assert!(clear_after(&[&parts[..], &[0x80, 1, b'x']].concat(), step));
            assert!(!clear_after(&[&short[..], &close()].concat(), step), "it was closed");
        }
        assert!(clear_after(&[], 1));
    }
}
