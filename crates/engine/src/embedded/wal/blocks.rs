//! The log's end in whole blocks, as a write past the system's page cache needs
//! it.
//!
//! Through the cache a small frame takes two waits for the disk, one for its
//! page and one for the disk's own cache; past it the first is shorter by what
//! the cache costs (docs/bench/store.md). The block in which the last frame
//! ended is written again with what follows it. What was in it is written as
//! it was, so a write that is cut short cannot harm it: this is also what the
//! cache does.

/// What any disk and file system in use takes.
pub(super) const BLOCK_BYTES: usize = 4096;

/// Frames up to this size are copied; larger ones gain nothing.
const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Room for the block that is begun, a frame, and the zeros behind it.
const BUFFER_BYTES: usize = FRAME_BYTES_MAX + 2 * BLOCK_BYTES;

#[derive(Debug)]
pub(super) struct Blocks {
    /// With room for being aligned, and never of another size.
    buffer: Vec<u8>,
    /// Where the aligned part begins, and at it the block that is begun.
    start: usize,
    /// Bytes of that block.
    begun: usize,
}

// === impl Blocks ===

impl Blocks {
    /// `begun` is what stands in the last block so far.
    pub fn new(begun: &[u8]) -> Blocks {
        let buffer = vec![0; BUFFER_BYTES + BLOCK_BYTES];
        let start = buffer.as_ptr().align_offset(BLOCK_BYTES);
        let mut blocks = Blocks { buffer, start, begun: 0 };
        blocks.begin(begun);
        blocks
    }

    /// Goes on in another file, or at another place of it.
    pub fn begin(&mut self, begun: &[u8]) {
        debug_assert!(begun.len() < BLOCK_BYTES);
        self.begun = begun.len();
        self.buffer[self.start..][..begun.len()].copy_from_slice(begun);
    }

    /// The blocks that hold `frame`, and how far before it they begin. None for
    /// one that is better written as it is.
    pub fn with(&mut self, frame: &[u8]) -> Option<(&[u8], u64)> {
        if frame.len() > FRAME_BYTES_MAX {
            return None;
        }
        let end = self.begun + frame.len();
        let whole = end.next_multiple_of(BLOCK_BYTES);
        let blocks = &mut self.buffer[self.start..][..whole];
        blocks[self.begun..end].copy_from_slice(frame);
        blocks[end..].fill(0);
        Some((blocks, self.begun as u64))
    }

    /// `frame` is written, however that was done.
    pub fn wrote(&mut self, frame: &[u8]) {
        let end = self.begun + frame.len();
        let begun = end % BLOCK_BYTES;
        let aligned = &mut self.buffer[self.start..];
        match frame.len().checked_sub(begun) {
            // It began the block.
            Some(at) => aligned[..begun].copy_from_slice(&frame[at..]),
            None => aligned[self.begun..end].copy_from_slice(frame),
        }
        self.begun = begun;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, byte: u8) -> Vec<u8> {
        vec![byte; length]
    }

    #[test]
    fn every_write_holds_what_its_first_block_held_before() {
        let mut blocks = Blocks::new(&[1; 100]);
        let mut file = vec![1; 100];
        let lengths = [8, 3000, 988, 8, 4088, 5000, FRAME_BYTES_MAX, 24, FRAME_BYTES_MAX + 8, 16];
        for (turn, length) in lengths.into_iter().enumerate() {
            let frame = frame(length, turn as u8 + 2);
            let at = file.len();
            file.extend(&frame);
            match blocks.with(&frame) {
                Some((bytes, before)) => {
                    let from = at - before as usize;
                    assert_eq!(from % BLOCK_BYTES, 0);
                    assert_eq!(bytes.len() % BLOCK_BYTES, 0);
                    assert_eq!(bytes.as_ptr().align_offset(BLOCK_BYTES), 0);
                    let (held, behind) = bytes.split_at(file.len() - from);
                    assert!(held == &file[from..], "after frame {turn}");
                    assert!(behind.iter().all(|byte| *byte == 0), "behind frame {turn}");
                }
                None => assert!(length > FRAME_BYTES_MAX),
            }
            blocks.wrote(&frame);
        }
    }

    #[test]
    fn another_file_begins_with_nothing() {
        let mut blocks = Blocks::new(&[1; 100]);
        blocks.begin(&[]);
        let (bytes, before) = blocks.with(&[2; 16]).expect("a small frame");
        assert_eq!((&bytes[..17], before), (&[&[2; 16][..], &[0]].concat()[..], 0));
    }
}
