//! A checksum (XXH3, 64 bits) over everything durable.
//!
//! The storage below has checksums of its own, but only we can say which
//! keyspace and batch is hurt, and only ours covers the way through it.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const CHECKSUM_BYTES: usize = 8;

/// Appends the checksum of what is in `out`, and of the name it is stored
/// under: two values that changed places are as wrong as changed ones.
pub(crate) fn seal(name: &[u8], out: &mut Vec<u8>) {
    let checksum = checksum(name, out);
    out.extend(checksum.to_le_bytes());
}

/// What was sealed, if it still is what it was.
pub(crate) fn open<'a>(name: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (body, stored) = sealed.split_last_chunk::<CHECKSUM_BYTES>()?;
    (checksum(name, body) == u64::from_le_bytes(*stored)).then_some(body)
}

/// What was sealed, whatever became of it: to say something about damage.
pub(crate) fn unchecked(sealed: &[u8]) -> Option<&[u8]> {
    sealed.split_last_chunk::<CHECKSUM_BYTES>().map(|(body, _)| body)
}

fn checksum(name: &[u8], body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64_with_seed(name, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_shows_and_so_does_another_name() {
        let mut sealed = b"some record".to_vec();
        seal(b"here", &mut sealed);
        assert_eq!(open(b"here", &sealed), Some(&b"some record"[..]));
        assert_eq!(open(b"there", &sealed), None);
        for bit in 0..sealed.len() * 8 {
            let mut hurt = sealed.clone();
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(b"here", &hurt), None, "bit {bit}");
        }
        assert_eq!(open(b"", b"short"), None);
    }
}
