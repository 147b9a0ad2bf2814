//! One page of a tree.
//!
//! Header: id:u64 flags:u16 count:u16 overflow:u32 (pages that follow as part
//! of this one). Then `count` elements of 16 bytes, then keys and values.
//! A leaf's element is flags:u32 position:u32 key_size:u32 value_size:u32; a
//! branch's is position:u32 key_size:u32 page:u64. Positions count from the
//! element's own start. All little-endian.

use bytes::Bytes;

use crate::Error;

pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const ELEMENT_BYTES: usize = 16;

pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;

/// Flag of a leaf's element whose value is a bucket.
const ELEMENT_IS_BUCKET: u32 = 0x01;

/// The first bytes of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub id: u64,
    pub flags: u16,
    pub count: u16,
    pub overflow: u32,
}

/// A page of a tree, whole, with what follows as part of it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// For messages; an inline page has the id of the one it stands in.
    pub id: u64,
    pub is_leaf: bool,
    count: usize,
    bytes: Bytes,
}

/// A key of a leaf and what is stored there.
#[derive(Clone, Debug)]
pub(crate) struct LeafElement {
    pub key: Bytes,
    pub value: Bytes,
    pub is_bucket: bool,
}

/// The first key of a page below.
#[derive(Clone, Debug)]
pub(crate) struct BranchElement {
    pub key: Bytes,
    pub page: u64,
}

// === impl Header ===

impl Header {
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        Header {
            id: number(&bytes[..8]),
            flags: number(&bytes[8..10]) as u16,
            count: number(&bytes[10..12]) as u16,
            overflow: number(&bytes[12..]) as u32,
        }
    }
}

// === impl Page ===

impl Page {
    /// `bytes` begin with the page's header.
    pub(crate) fn new(id: u64, bytes: Bytes) -> Result<Page, Error> {
        let corrupt = |problem| Error::Corrupt { page: id, problem };
        let header = bytes.first_chunk().ok_or(corrupt("it is shorter than its header"))?;
        let header = Header::decode(header);
        let is_leaf = match header.flags {
            LEAF => true,
            BRANCH => false,
            _ => return Err(corrupt("it is neither a branch nor a leaf")),
        };
        let count = usize::from(header.count);
        if bytes.len() < HEADER_BYTES + count * ELEMENT_BYTES {
            return Err(corrupt("it has more elements than room"));
        }
        Ok(Page { id, is_leaf, count, bytes })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn leaf(&self, index: usize) -> Result<LeafElement, Error> {
        let (start, words) = self.element(index);
        let [flags, position, key_size, value_size] = words;
        let key = self.part(start, position, 0, key_size)?;
        let value = self.part(start, position, key_size, value_size)?;
        Ok(LeafElement { key, value, is_bucket: flags & ELEMENT_IS_BUCKET != 0 })
    }

    pub(crate) fn branch(&self, index: usize) -> Result<BranchElement, Error> {
        let (start, [position, key_size, low, high]) = self.element(index);
        let key = self.part(start, position, 0, key_size)?;
        Ok(BranchElement { key, page: u64::from(high) << 32 | u64::from(low) })
    }

    /// Where an element starts, and its words.
    fn element(&self, index: usize) -> (usize, [u32; 4]) {
        assert!(index < self.count, "the caller counts");
        let start = HEADER_BYTES + index * ELEMENT_BYTES;
        let words = std::array::from_fn(|word| {
            let at = start + word * 4;
            number(&self.bytes[at..at + 4]) as u32
        });
        (start, words)
    }

    fn part(&self, start: usize, position: u32, skip: u32, size: u32) -> Result<Bytes, Error> {
        // Below 2^34, so it cannot overflow.
        let from = start as u64 + u64::from(position) + u64::from(skip);
        let to = from + u64::from(size);
        if to > self.bytes.len() as u64 {
            let problem = "a key or value lies outside of it";
            return Err(Error::Corrupt { page: self.id, problem });
        }
        Ok(self.bytes.slice(from as usize..to as usize))
    }
}

/// The start of a page in the making.
pub(crate) fn header(id: u64, flags: u16, count: u16, overflow: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.extend(id.to_le_bytes());
    out.extend(flags.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(overflow.to_le_bytes());
    out
}

/// The words of a leaf's element.
pub(crate) fn leaf_words(is_bucket: bool, position: u32, key: usize, value: usize) -> [u32; 4] {
    [u32::from(is_bucket) * ELEMENT_IS_BUCKET, position, key as u32, value as u32]
}

/// The words of a branch's element.
pub(crate) fn branch_words(position: u32, key: usize, page: u64) -> [u32; 4] {
    [position, key as u32, page as u32, (page >> 32) as u32]
}

/// Little-endian, at most eight bytes.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
