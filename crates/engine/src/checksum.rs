//! CRC-32C (Castagnoli; RFC 3720 appendix B.4) over everything durable.
//!
//! The storage below has checksums of its own, but only we can say which
//! keyspace and batch is hurt, and only ours covers the way through it.

const POLYNOMIAL_REVERSED: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

pub(crate) const CHECKSUM_BYTES: usize = 4;

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// Appends the checksum of what is in `out`.
pub(crate) fn seal(out: &mut Vec<u8>) {
    let crc = crc32c(out);
    out.extend(crc.to_le_bytes());
}

/// What was sealed, if it still is what it was.
pub(crate) fn open(sealed: &[u8]) -> Option<&[u8]> {
    let (body, crc) = sealed.split_last_chunk::<CHECKSUM_BYTES>()?;
    (crc32c(body) == u32::from_le_bytes(*crc)).then_some(body)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL_REVERSED } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_check_value_comes_out_and_any_flipped_bit_shows() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut sealed = b"some record".to_vec();
        seal(&mut sealed);
        assert_eq!(open(&sealed), Some(&b"some record"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut hurt = sealed.clone();
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&hurt), None, "bit {bit}");
        }
        assert_eq!(open(b"abc"), None);
    }
}
