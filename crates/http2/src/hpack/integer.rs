//! Numbers that begin within a byte (RFC 7541, section 5.1).

use super::Malformed;

/// Far beyond any length or index that we take, and short of overflow.
const CONTINUED_BYTES_MAX: u32 = 4;

/// Takes a number whose first byte has `prefix` bits of it.
pub fn take(prefix: u32, input: &mut &[u8]) -> Result<usize, Malformed> {
    let (first, mut rest) = input.split_first().ok_or(Malformed)?;
    let full = (1usize << prefix) - 1;
    let mut value = usize::from(*first) & full;
    if value == full {
        for n in 0.. {
            if n == CONTINUED_BYTES_MAX {
                return Err(Malformed);
            }
            let (byte, after) = rest.split_first().ok_or(Malformed)?;
            rest = after;
            value += usize::from(byte & 0x7f) << (7 * n);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// Appends a number after `flags`, which leave `prefix` bits of the first byte.
pub fn put(prefix: u32, flags: u8, value: usize, out: &mut Vec<u8>) {
    let full = (1usize << prefix) - 1;
    let low = |value: usize| u8::try_from(value & 0x7f).expect("seven bits");
    if value < full {
        out.push(flags | u8::try_from(value).expect("less than a byte"));
        return;
    }
    out.push(flags | u8::try_from(full).expect("at most a byte"));
    let mut rest = value - full;
    while rest > 0x7f {
        out.push(0x80 | low(rest));
        rest >>= 7;
    }
    out.push(low(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_rfc_and_survive_the_way() {
        // Appendix C.1.
        for (prefix, value, bytes) in
            [(5, 10, &[0x0a][..]), (5, 1337, &[0x1f, 0x9a, 0x0a]), (8, 42, &[0x2a])]
        {
            let mut out = Vec::new();
            put(prefix, 0, value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(take(prefix, &mut &out[..]), Ok(value));
        }
    }

    #[test]
    fn a_number_without_an_end_is_malformed() {
        assert_eq!(take(7, &mut &[0x7f, 0x80, 0x80][..]), Err(Malformed));
        assert_eq!(take(7, &mut &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f][..]), Err(Malformed));
        assert_eq!(take(7, &mut &[][..]), Err(Malformed));
    }
}
