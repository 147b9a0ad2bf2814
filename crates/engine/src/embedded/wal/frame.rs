//! One write of the log: a header, what is written, zeros up to the next eight
//! bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `PLF` and the format |
//! | 4 | length of what is written |
//! | 8 | the frame's number, one more than the last one's |
//! | 8 | XXH3 of all that, seeded with the segment's salt |
//!
//! Numbers are little-endian. A segment that is used again still holds its old
//! frames; their salt tells them apart, and because it is random and stays in
//! the file, nobody can smuggle in a frame inside of a value.

use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

pub(super) const HEADER_BYTES: usize = 24;
const ALIGN: usize = 8;
const MAGIC: [u8; 4] = *b"PLF\x01";

/// Random, one for each use of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt(pub u64);

/// Where a whole frame was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub number: u64,
    pub body: Range<usize>,
}

/// What a segment's bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Examined {
    pub frames: Vec<Frame>,
    /// Where the next frame goes.
    pub end: usize,
    /// Behind the end stands a later frame. Since each frame was synced before
    /// the next was begun, something before it has been damaged.
    pub is_hurt: bool,
}

/// Fills in the header, for which `frame` has kept room, and the end.
pub(super) fn seal(frame: &mut Vec<u8>, number: u64, salt: Salt) {
    let length = u32::try_from(frame.len() - HEADER_BYTES).expect("groups are bounded");
    frame[..4].copy_from_slice(&MAGIC);
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    let checksum = checksum(&frame[..16], &frame[HEADER_BYTES..], salt);
    frame[16..24].copy_from_slice(&checksum.to_le_bytes());
    frame.resize(frame.len().next_multiple_of(ALIGN), 0);
}

/// Reads the frames of a segment, of which the first stands at `start` and has
/// number `next`.
pub(super) fn examine(bytes: &[u8], start: usize, mut next: u64, salt: Salt) -> Examined {
    let (mut frames, mut end) = (Vec::new(), start);
    while let Some(frame) = frame_at(bytes, end, next, salt).filter(|frame| frame.number == next) {
        next += 1;
        end = frame.body.end.next_multiple_of(ALIGN);
        frames.push(frame);
    }
    let is_hurt =
        (end..bytes.len()).step_by(ALIGN).any(|at| frame_at(bytes, at, next, salt).is_some());
    Examined { frames, end, is_hurt }
}

/// The whole frame at `at`, if there is one whose number is `least` or more.
fn frame_at(bytes: &[u8], at: usize, least: u64, salt: Salt) -> Option<Frame> {
    let header = bytes.get(at..at + HEADER_BYTES)?;
    if header[..4] != MAGIC {
        return None;
    }
    let number = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    // Saves hashing all that a segment held before.
    if number < least {
        return None;
    }
    let length = u32::from_le_bytes(header[4..8].try_into().expect("four bytes")) as usize;
    let body = at + HEADER_BYTES..at + HEADER_BYTES + length;
    let stored = u64::from_le_bytes(header[16..].try_into().expect("eight bytes"));
    let whole = checksum(&header[..16], bytes.get(body.clone())?, salt) == stored;
    whole.then_some(Frame { number, body })
}

fn checksum(header: &[u8], body: &[u8], salt: Salt) -> u64 {
    let mut hash = Xxh3::with_seed(salt.0);
    hash.update(header);
    hash.update(body);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(7);

    fn frame(number: u64, body: &[u8], salt: Salt) -> Vec<u8> {
        let mut frame = vec![0; HEADER_BYTES];
        frame.extend_from_slice(body);
        seal(&mut frame, number, salt);
        frame
    }

    fn numbers(bytes: &[u8]) -> (Vec<u64>, bool) {
        let first = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        let examined = examine(bytes, 0, if first == 9 { 9 } else { 1 }, SALT);
        (examined.frames.iter().map(|frame| frame.number).collect(), examined.is_hurt)
    }

    #[test]
    fn only_the_last_frame_may_be_torn() {
        let (first, last) = (frame(1, b"one", SALT), frame(2, &[5; 9001], SALT));
        let whole = [&first[..], &last, &[0; 5000]].concat();
        assert_eq!(numbers(&whole), (vec![1, 2], false));
        for end in (first.len()..first.len() + HEADER_BYTES + 9001).step_by(97) {
            assert_eq!(numbers(&whole[..end]), (vec![1], false), "cut at {end}");
        }
        // The disk kept the end of the last frame but not its middle.
        let mut holed = whole.clone();
        holed[first.len() + 100..first.len() + 5000].fill(0);
        assert_eq!(numbers(&holed), (vec![1], false));
        for byte in 0..HEADER_BYTES + 3 {
            let mut hurt = whole.clone();
            hurt[byte] ^= 2;
            assert_eq!(numbers(&hurt), (vec![], true), "byte {byte}");
        }
    }

    #[test]
    fn what_a_segment_held_before_is_not_taken_for_frames() {
        let before = [frame(1, &[1; 100], Salt(9)), frame(2, &[2; 100], Salt(9))].concat();
        let now = frame(9, b"now", SALT);
        let mut bytes = before.clone();
        bytes[..now.len()].copy_from_slice(&now);
        assert_eq!(numbers(&bytes), (vec![9], false));
        // A value that holds a frame, of whatever number, is only a value.
        let smuggled = frame(10, &frame(11, b"evil", Salt(9)), SALT);
        let torn = [&now[..], &smuggled[..smuggled.len() - 8]].concat();
        assert_eq!(numbers(&torn), (vec![9], false));
    }
}
