//! CRC-32C (Castagnoli), the checksum in which etcd compares its members.

/// Its polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// A byte's effect, for each value of it.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32c(u32);

// === impl Crc32c ===

impl Default for Crc32c {
    fn default() -> Crc32c {
        Crc32c(u32::MAX)
    }
}

impl Crc32c {
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 >> 8 ^ TABLE[usize::from(self.0 as u8 ^ byte)];
        }
    }

    pub fn finish(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_of_rfc_3720() {
        let of = |bytes: &[u8]| {
            let mut crc = Crc32c::default();
            let (a, b) = bytes.split_at(bytes.len() / 2);
            crc.add(a);
            crc.add(b);
            crc.finish()
        };
        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
    }
}
