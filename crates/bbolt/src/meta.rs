//! The meta page: what kind of file this is, and where its tree begins.
//!
//! After the page's header: magic:u32 version:u32 page_size:u32 flags:u32
//! root:u64 sequence:u64 freelist:u64 pages:u64 txid:u64 checksum:u64, all
//! little-endian; the checksum is FNV-1a, 64 bits, over what is before it.

use crate::page::{self, HEADER_BYTES, number};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const BODY_BYTES: usize = 4 * 4 + 8 * 5;
/// With the page's header and the checksum.
pub(crate) const META_BYTES: usize = HEADER_BYTES + BODY_BYTES + 8;

/// bbolt's are a machine's page size, 4 KiB to 64 KiB; it looks for a second
/// meta from 1 KiB to 16 MiB.
pub(crate) const PAGE_BYTES_MIN: u32 = 1024;
pub(crate) const PAGE_BYTES_MAX: u32 = 16 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub page_bytes: u32,
    /// Where the tree of buckets begins.
    pub root: u64,
    pub freelist: u64,
    /// Pages from here on are not in use.
    pub pages: u64,
    pub txid: u64,
}

// === impl Meta ===

impl Meta {
    /// From the start of a page; `None` if it is not a whole meta.
    pub(crate) fn decode(bytes: &[u8; META_BYTES]) -> Option<Meta> {
        let body = &bytes[HEADER_BYTES..HEADER_BYTES + BODY_BYTES];
        let u32_at = |at: usize| number(&body[at..at + 4]) as u32;
        let u64_at = |at: usize| number(&body[at..at + 8]);
        if u32_at(0) != MAGIC || u32_at(4) != VERSION {
            return None;
        }
        if number(&bytes[HEADER_BYTES + BODY_BYTES..]) != fnv1a(body) {
            return None;
        }
        let page_bytes = u32_at(8);
        let sane =
            page_bytes.is_power_of_two() && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes);
        sane.then_some(Meta {
            page_bytes,
            root: u64_at(16),
            freelist: u64_at(32),
            pages: u64_at(40),
            txid: u64_at(48),
        })
    }

    /// A whole page, as copy number `id`.
    pub(crate) fn encode(&self, id: u64) -> Vec<u8> {
        let mut out = page::header(id, page::META, 0, 0);
        for word in [MAGIC, VERSION, self.page_bytes, 0] {
            out.extend(word.to_le_bytes());
        }
        for word in [self.root, 0, self.freelist, self.pages, self.txid] {
            out.extend(word.to_le_bytes());
        }
        let checksum = fnv1a(&out[HEADER_BYTES..]);
        out.extend(checksum.to_le_bytes());
        out.resize(self.page_bytes as usize, 0);
        out
    }
}

/// Fowler, Noll, Vo: 64 bits, variant 1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_is_read_as_it_was_written_and_any_flipped_bit_shows() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8, "the hash's own test vector");
        let meta = Meta { page_bytes: 4096, root: 7, freelist: 2, pages: 9, txid: 5 };
        let encoded = meta.encode(1);
        assert_eq!(encoded.len(), 4096);
        let start: [u8; META_BYTES] = encoded[..META_BYTES].try_into().expect("its length");
        assert_eq!(Meta::decode(&start), Some(meta));
        for bit in HEADER_BYTES * 8..META_BYTES * 8 {
            let mut hurt = start;
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Meta::decode(&hurt), None, "bit {bit}");
        }
    }
}
