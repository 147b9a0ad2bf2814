//! A block of fields, read.

use bytes::Bytes;

use super::{
    huffman, integer,
    table::{Dynamic, Entry, FIXED, fixed},
};

/// What we announce by saying nothing.
const TABLE_BYTES_MAX: usize = 4096;

const INDEXED: u8 = 0x80;
const KEPT: u8 = 0x40;
const RESIZED: u8 = 0x20;
const HUFFMAN: u8 = 0x80;

/// The two sides' tables differ from here on: nothing that follows can be
/// understood (COMPRESSION_ERROR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

pub struct Decoder {
    table: Dynamic,
}

// === impl Decoder ===

impl Decoder {
    pub fn new() -> Decoder {
        Decoder { table: Dynamic::new(TABLE_BYTES_MAX) }
    }

    /// While it stays, the same indices mean the same fields.
    pub fn version(&self) -> u64 {
        self.table.version()
    }

    /// Hands out the fields of a whole block, in order.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        mut field: impl FnMut(&Entry),
    ) -> Result<(), Malformed> {
        let mut may_resize = true;
        while let Some(first) = block.first() {
            if first & INDEXED != 0 {
                match integer::take(7, &mut block)? {
                    index @ 1..=FIXED => field(&fixed(index).expect("the table has it")),
                    index => field(self.kept(index)?),
                }
            } else if first & KEPT != 0 {
                let entry = self.literal(6, &mut block)?;
                field(&entry);
                self.table.insert(entry);
            } else if first & RESIZED != 0 {
                // Only before the first field, and within what we announced.
                let bytes = integer::take(5, &mut block)?;
                if !may_resize || bytes > TABLE_BYTES_MAX {
                    return Err(Malformed);
                }
                self.table.resize(bytes);
                continue;
            } else {
                field(&self.literal(4, &mut block)?);
            }
            may_resize = false;
        }
        Ok(())
    }

    fn kept(&self, index: usize) -> Result<&Entry, Malformed> {
        let index = index.checked_sub(FIXED + 1).ok_or(Malformed)?;
        self.table.get(index).ok_or(Malformed)
    }

    fn literal(&self, prefix: u32, block: &mut &[u8]) -> Result<Entry, Malformed> {
        let name = match integer::take(prefix, block)? {
            0 => text(block)?,
            index @ 1..=FIXED => fixed(index).expect("the table has it").name,
            index => self.kept(index)?.name.clone(),
        };
        Ok(Entry::new(name, text(block)?))
    }
}

/// Copied, so that no field keeps alive what else was read with it.
fn text(block: &mut &[u8]) -> Result<Bytes, Malformed> {
    let is_huffman = block.first().ok_or(Malformed)? & HUFFMAN != 0;
    let length = integer::take(7, block)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    if !is_huffman {
        return Ok(Bytes::copy_from_slice(text));
    }
    // No code is shorter than five bits.
    let mut out = Vec::with_capacity(length * 8 / 5);
    huffman::decode(text, &mut out)?;
    Ok(Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("hex")).collect()
    }

    fn check(decoder: &mut Decoder, hex: &str, expected: &[&str], table_bytes: usize) {
        let mut fields = Vec::new();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        decoder
            .decode(&bytes(hex), |e| fields.push(format!("{}: {}", text(&e.name), text(&e.value))))
            .expect("the RFC's own");
        assert_eq!((&fields[..], decoder.table.bytes()), (&expected.map_to()[..], table_bytes));
    }

    trait MapTo {
        fn map_to(&self) -> Vec<String>;
    }

    impl MapTo for &[&str] {
        fn map_to(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn fields_are_those_of_the_rfc() {
        // Appendix C.2.
        check(
            &mut Decoder::new(),
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &["custom-key: custom-header"],
            55,
        );
        check(
            &mut Decoder::new(),
            "040c 2f73 616d 706c 652f 7061 7468",
            &[":path: /sample/path"],
            0,
        );
        check(
            &mut Decoder::new(),
            "1008 7061 7373 776f 7264 0673 6563 7265 74",
            &["password: secret"],
            0,
        );
        check(&mut Decoder::new(), "82", &[":method: GET"], 0);
    }

    #[test]
    fn requests_are_those_of_the_rfc_with_and_without_huffman() {
        let first = &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
        let second = &[&first[..], &["cache-control: no-cache"]].concat();
        let third = &[
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ];
        // Appendix C.3.
        let decoder = &mut Decoder::new();
        check(decoder, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", first, 57);
        check(decoder, "8286 84be 5808 6e6f 2d63 6163 6865", second, 110);
        let hex = "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65";
        check(decoder, hex, third, 164);
        // Appendix C.4.
        let decoder = &mut Decoder::new();
        check(decoder, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first, 57);
        check(decoder, "8286 84be 5886 a8eb 1064 9cbf", second, 110);
        let hex = "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf";
        check(decoder, hex, third, 164);
    }

    #[test]
    fn old_entries_make_room_as_in_the_rfc() {
        // Appendix C.6, where the table has 256 bytes.
        let decoder = &mut Decoder::new();
        decoder.table.resize(256);
        let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
        let location = "location: https://www.example.com";
        check(
            decoder,
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            &[":status: 302", "cache-control: private", date, location],
            222,
        );
        check(
            decoder,
            "4883 640e ffc1 c0bf",
            &[":status: 307", "cache-control: private", date, location],
            222,
        );
        check(
            decoder,
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
            &[
                ":status: 200",
                "cache-control: private",
                "date: Mon, 21 Oct 2013 20:13:22 GMT",
                location,
                "content-encoding: gzip",
                "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ],
            215,
        );
    }

    #[test]
    fn what_cannot_be_understood_is_malformed() {
        for (case, hex) in [
            ("index 0", "80"),
            ("an index beyond both tables", "be"),
            ("a name beyond both tables", "7e 01 61"),
            ("a text that is cut", "40 05 61"),
            ("a text without a length", "40"),
            ("a table larger than announced", "3f e2 1f"),
            ("a new size between fields", "82 20"),
        ] {
            let decoded = Decoder::new().decode(&bytes(hex), |_| {});
            assert_eq!(decoded, Err(Malformed), "{case}");
        }
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut decoder = Decoder::new();
        let large = vec![b'v'; TABLE_BYTES_MAX];
        decoder.decode(b"\x40\x01a\x01b", |_| {}).expect("it fits");
        assert_eq!(decoder.table.bytes(), 34);
        let mut block = b"\x40\x01a".to_vec();
        integer::put(7, 0, large.len(), &mut block);
        block.extend(large);
        decoder.decode(&block, |_| {}).expect("no error, says the RFC");
        assert_eq!(decoder.table.bytes(), 0);
    }
}
