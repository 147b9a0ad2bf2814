//! Header blocks: pairs in one zlib stream per direction, which lives as long
//! as its connection.
//!
//! Reading needs the window of everything before, and the dictionary before
//! that. The inflater at hand takes no dictionary, so it is fed one first, as a
//! stored block of raw deflate whose output is thrown away. Writing compresses
//! nothing: stored blocks are valid deflate, and our headers are a few bytes.

use flate2::{Decompress, FlushDecompress, Status};

use crate::{Error, Headers, dictionary};

/// A block unpacked; Kubernetes' are of a few hundred bytes.
const BLOCK_BYTES_MAX: usize = 16 << 10;
const PAIRS_MAX: usize = 64;

pub(crate) struct Inflater {
    raw: Decompress,
    /// Its first block begins with the head of the zlib stream.
    begun: bool,
}

#[derive(Default)]
pub(crate) struct Deflater {
    begun: bool,
}

// === impl Inflater ===

impl Inflater {
    pub(crate) fn new() -> Inflater {
        let mut inflater = Inflater { raw: Decompress::new(false), begun: false };
        let mut stored = Vec::new();
        store(&mut stored, &dictionary::text());
        let unpacked = inflater.run(&stored).expect("a stored block of our own is well formed");
        assert_eq!(unpacked.len(), dictionary::text().len(), "it is primed with all of it");
        inflater
    }

    pub(crate) fn headers(&mut self, packed: &[u8]) -> Result<Headers, Error> {
        let packed = if self.begun { packed } else { skip_head(packed)? };
        self.begun = true;
        pairs(&self.run(packed)?)
    }

    fn run(&mut self, mut packed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut unpacked = Vec::new();
        let mut chunk = [0; 2048];
        loop {
            let (read, written) = (self.raw.total_in(), self.raw.total_out());
            let status = self.raw.decompress(packed, &mut chunk, FlushDecompress::None);
            let status = status.map_err(|_| Error::Block("it is not deflated"))?;
            let read = usize::try_from(self.raw.total_in() - read).expect("at most what was given");
            let written = self.raw.total_out() - written;
            let written = usize::try_from(written).expect("at most a chunk");
            packed = &packed[read..];
            unpacked.extend_from_slice(&chunk[..written]);
            if unpacked.len() > BLOCK_BYTES_MAX {
                return Err(Error::Block("it is too long"));
            }
            if matches!(status, Status::StreamEnd) {
                return Err(Error::Block("its stream ends"));
            }
            if written < chunk.len() && (packed.is_empty() || read == 0) {
                break;
            }
        }
        match packed.is_empty() {
            true => Ok(unpacked),
            false => Err(Error::Block("it is not deflated")),
        }
    }
}

/// RFC 1950: method, flags, and which dictionary.
fn skip_head(packed: &[u8]) -> Result<&[u8], Error> {
    let bad = Error::Block("its stream has no zlib head");
    let [method, flags, rest @ ..] = packed else { return Err(bad) };
    let check = u16::from_be_bytes([*method, *flags]);
    if method & 0x0f != 8 || check % 31 != 0 {
        return Err(bad);
    }
    if flags & 0x20 == 0 {
        return Ok(rest);
    }
    match rest.split_first_chunk() {
        Some((id, rest)) if u32::from_be_bytes(*id) == dictionary::ID => Ok(rest),
        _ => Err(Error::Block("it needs another dictionary")),
    }
}

fn pairs(mut block: &[u8]) -> Result<Headers, Error> {
    let count = number(&mut block)?;
    if count > PAIRS_MAX {
        return Err(Error::Block("it has too many headers"));
    }
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let name = text(&mut block)?.to_ascii_lowercase();
        pairs.push((name, text(&mut block)?));
    }
    match block.is_empty() {
        true => Ok(Headers(pairs)),
        false => Err(Error::Block("there is more than its headers")),
    }
}

fn number(block: &mut &[u8]) -> Result<usize, Error> {
    let (number, rest) = block.split_first_chunk().ok_or(Error::Block("it is cut short"))?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*number)).map_err(|_| Error::Block("it is too long"))
}

fn text(block: &mut &[u8]) -> Result<String, Error> {
    let len = number(block)?;
    let (text, rest) = block.split_at_checked(len).ok_or(Error::Block("it is cut short"))?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Error::Block("a header is no text"))
}

// === impl Deflater ===

impl Deflater {
    pub(crate) fn pack(&mut self, headers: &Headers) -> Vec<u8> {
        let mut block = Vec::new();
        let number = |len: usize| u32::try_from(len).expect("headers of ours are short");
        block.extend_from_slice(&number(headers.0.len()).to_be_bytes());
        for (name, value) in &headers.0 {
            for text in [name, value] {
                block.extend_from_slice(&number(text.len()).to_be_bytes());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let mut packed = Vec::with_capacity(block.len() + 16);
        if !self.begun {
            packed.extend_from_slice(&[0x78, 0x20]);
            packed.extend_from_slice(&dictionary::ID.to_be_bytes());
            self.begun = true;
        }
        for piece in block.chunks(usize::from(u16::MAX)) {
            store(&mut packed, piece);
        }
        // An empty block makes readers hand out what came before it.
        store(&mut packed, &[]);
        packed
    }
}

/// A stored block of raw deflate (RFC 1951 section 3.2.4), not the last one.
fn store(to: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("a stored block is shorter than 64 KiB");
    to.push(0);
    to.extend_from_slice(&len.to_le_bytes());
    to.extend_from_slice(&(!len).to_le_bytes());
    to.extend_from_slice(bytes);
}
