//! The code of RFC 7541, appendix B.
//!
//! The code is canonical: among codes of one length, and from one length to the
//! next, they count upwards in the order of their symbols. So the lengths say
//! it all, and decoding compares with where each length ends. Most of what
//! headers are made of has at most eight bits and is looked up.

use super::Malformed;

const SYMBOLS: usize = 257;
const END: u16 = 256;
const BITS_MAX: usize = 30;
const FAST_BITS: usize = 8;

/// By symbol; the end, of 30 bits, comes last.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

struct Tables {
    /// Symbol and length for each first byte that holds a whole code.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// For each length, the first of 32 bits that belong to longer codes.
    ends: [u64; BITS_MAX + 1],
    /// For each length, its first code and where its symbols begin.
    firsts: [(u32, u16); BITS_MAX + 1],
    symbols: [u16; SYMBOLS],
}

static TABLES: Tables = tables();

/// Appends what `input` stands for.
pub fn decode(mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    // Left-justified, and how many of them there are.
    let (mut bits, mut count) = (0u64, 0u32);
    loop {
        while count <= 56
            && let Some((byte, rest)) = input.split_first()
        {
            bits |= u64::from(*byte) << (56 - count);
            (count, input) = (count + 8, rest);
        }
        if count == 0 {
            return Ok(());
        }
        let (symbol, length) = next(bits);
        if length > count {
            // Padding: the beginning of the end, and less than a byte.
            let is_padding = count < 8 && bits >> (64 - count) == (1 << count) - 1;
            return if is_padding { Ok(()) } else { Err(Malformed) };
        }
        out.push(u8::try_from(symbol).map_err(|_| Malformed)?);
        bits <<= length;
        count -= length;
    }
}

fn next(bits: u64) -> (u16, u32) {
    let (symbol, length) = TABLES.fast[(bits >> 56) as usize];
    if length > 0 {
        return (u16::from(symbol), u32::from(length));
    }
    let top = bits >> 32;
    let length = (FAST_BITS + 1..BITS_MAX).find(|length| top < TABLES.ends[*length]);
    let length = length.unwrap_or(BITS_MAX);
    let (first, at) = TABLES.firsts[length];
    let code = u32::try_from(top >> (32 - length)).expect("at most 30 bits");
    let symbol = usize::from(at) + (code - first) as usize;
    (TABLES.symbols.get(symbol).copied().unwrap_or(END), u32::try_from(length).expect("at most 30"))
}

const fn tables() -> Tables {
    let mut tables = Tables {
        fast: [(0, 0); 1 << FAST_BITS],
        ends: [0; BITS_MAX + 1],
        firsts: [(0, 0); BITS_MAX + 1],
        symbols: [0; SYMBOLS],
    };
    let (mut code, mut at, mut length) = (0u32, 0usize, 1usize);
    while length <= BITS_MAX {
        code <<= 1;
        tables.firsts[length] = (code, at as u16);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                tables.symbols[at] = symbol as u16;
                if length <= FAST_BITS {
                    let shift = FAST_BITS - length;
                    let (mut byte, end) =
                        ((code as usize) << shift, ((code + 1) as usize) << shift);
                    while byte < end {
                        tables.fast[byte] = (symbol as u8, length as u8);
                        byte += 1;
                    }
                }
                code += 1;
                at += 1;
            }
            symbol += 1;
        }
        tables.ends[length] = (code as u64) << (32 - length);
        length += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let code = |symbol: u8| {
            let length = usize::from(LENGTHS[usize::from(symbol)]);
            let (first, at) = TABLES.firsts[length];
            let place = TABLES.symbols.iter().position(|s| *s == u16::from(symbol)).expect("all");
            (first + u32::try_from(place - usize::from(at)).expect("small"), length)
        };
        let bits = text.iter().flat_map(|symbol| {
            let (code, length) = code(*symbol);
            (0..length).rev().map(move |bit| code >> bit & 1)
        });
        let mut bits: Vec<_> = bits.collect();
        bits.resize(bits.len().next_multiple_of(8), 1);
        let byte = |bits: &[u32]| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8);
        bits.chunks(8).map(byte).collect()
    }

    #[test]
    fn every_symbol_survives_the_way_among_others() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let mut out = Vec::new();
        decode(&encode(&all), &mut out).expect("it was encoded here");
        assert_eq!(out, all);
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Of each length one, from appendix B.
        for (symbol, code, length) in [
            (b'0', 0x0u32, 5),
            (b' ', 0x14, 6),
            (b':', 0x5c, 7),
            (b'X', 0xfc, 8),
            (b'!', 0x3f8, 10),
            (b'+', 0x7fb, 11),
            (b'|', 0x7fc, 11),
            (b'#', 0xffa, 12),
            (b'$', 0x1ff9, 13),
            (b'^', 0x3ffc, 14),
            (b'<', 0x7ffc, 15),
            (b'\\', 0x7fff0, 19),
            (128, 0xfffe6, 20),
            (153, 0x1fffdc, 21),
            (129, 0x3fffd2, 22),
            (1, 0x7fffd8, 23),
            (9, 0xffffea, 24),
            (199, 0x1ffffec, 25),
            (192, 0x3ffffe0, 26),
            (203, 0x7ffffde, 27),
            (2, 0xfffffe2, 28),
            (22, 0x3ffffffe, 30),
        ] {
            let bits = u64::from(code) << (64 - length);
            assert_eq!(next(bits), (u16::from(symbol), length), "{symbol}");
        }
    }

    #[test]
    fn padding_is_short_and_ones_and_the_end_is_never_said() {
        let decoded = |bytes: &[u8]| decode(bytes, &mut Vec::new());
        assert_eq!(decoded(&[0x07]), Ok(()));
        assert_eq!(decoded(&[0x06]), Err(Malformed));
        assert_eq!(decoded(&[0x07, 0xff]), Err(Malformed));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Malformed));
    }
}
