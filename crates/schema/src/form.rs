//! Texts of built-in kinds that have one canonical form: times, quantities,
//! durations, bytes.

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::{Form, format};

/// Checks `text` and brings it into the form in which Kubernetes stores it;
/// `None` when it has that form already.
pub(crate) fn canonical(form: Form, text: &str) -> Result<Option<String>, String> {
    match form {
        Form::Plain => Ok(None),
        Form::Bytes => match text.is_empty() || format::is_base64(&unwrapped(text)) {
            true => Ok(None),
            false => Err(format!("illegal base64 data at input byte {}", bad_byte(text))),
        },
        Form::Time => moment(text, ""),
        Form::MicroTime => moment(text, ".000000"),
        Form::Quantity => quantity(text),
        Form::Duration => match format::is_go_duration(text) {
            true => Ok(None),
            false => Err(format!("time: invalid duration {text:?}")),
        },
    }
}

/// Base64 may be broken into lines.
fn unwrapped(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

fn bad_byte(text: &str) -> usize {
    let member = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'\r' | b'\n');
    text.bytes().position(|b| !member(b)).unwrap_or(text.len())
}

/// RFC 3339 in UTC, to the second or, with a fraction of six digits, to the
/// microsecond.
fn moment(text: &str, fraction: &str) -> Result<Option<String>, String> {
    let bytes = text.as_bytes();
    let len = "2006-01-02T15:04:05Z".len() + fraction.len();
    let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        let layout = if fraction.is_empty() {
            "2006-01-02T15:04:05Z07:00"
        } else {
            "2006-01-02T15:04:05.000000Z07:00"
        };
        let part = if bytes.first().is_some_and(u8::is_ascii_digit) { "" } else { "2006" };
        format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as {part:?}")
    })?;
    if bytes.len() == len && bytes.last() == Some(&b'Z') && bytes[10] == b'T' {
        return Ok(None);
    }
    let utc = parsed.to_offset(UtcOffset::UTC);
    let (date, clock) = (utc.date(), utc.time());
    let micros = match fraction.is_empty() {
        true => String::new(),
        false => format!(".{:06}", clock.microsecond()),
    };
    Ok(Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{micros}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
    )))
}

/// `resource.Quantity`: as few digits as can be, no fraction, the largest unit
/// that loses nothing.
fn quantity(text: &str) -> Result<Option<String>, String> {
    let refusal = || {
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            .to_owned()
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let digits_len = unsigned.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, suffix) = unsigned.split_at(digits_len);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + part.len() == 0 || part.contains('.') {
        return Err(refusal());
    }
    let unit = Unit::read(suffix).ok_or_else(refusal)?;
    // More digits than fit are kept as they were written.
    if is_short(text, whole, part, &unit) {
        return Ok(None);
    }
    let Some(nanos) = unit.nanos(whole, part) else { return Ok(None) };
    let sign = if negative && nanos != 0 { "-" } else { "" };
    let written = format!("{sign}{}", unit.write(nanos));
    Ok((written != text).then_some(written))
}

/// Up to three digits and a unit cannot be written shorter.
fn is_short(text: &str, whole: &str, part: &str, unit: &Unit) -> bool {
    let plain = matches!(whole.len(), 1..=3) && !whole.starts_with('0') && part.is_empty();
    plain
        && text.starts_with(|c: char| c.is_ascii_digit())
        && !text.contains('.')
        && !matches!(unit, Unit::Exponent(_))
}

enum Unit {
    /// Powers of 1024.
    Binary(u32),
    /// Powers of 1000, from -3 to 6.
    Decimal(i32),
    /// `e3`.
    Exponent(i32),
}

const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

// === impl Unit ===

impl Unit {
    fn read(suffix: &str) -> Option<Unit> {
        if let Some(at) = DECIMAL.iter().position(|unit| *unit == suffix) {
            return Some(Unit::Decimal(i32::try_from(at).ok()? - 3));
        }
        if let Some(at) = BINARY.iter().position(|unit| *unit == suffix) {
            return Some(Unit::Binary(u32::try_from(at).ok()?));
        }
        let exponent = suffix.strip_prefix(['e', 'E'])?;
        exponent.parse().ok().map(Unit::Exponent)
    }

    /// The value in units of 10⁻⁹, rounded up; `None` when it is too large.
    fn nanos(&self, whole: &str, part: &str) -> Option<i128> {
        let digits = format!("{whole}{part}");
        let mantissa: i128 = digits.parse().ok()?;
        let (binary, ten) = match self {
            Unit::Binary(power) => (1024_i128.checked_pow(*power)?, 0),
            Unit::Decimal(power) => (1, power * 3),
            Unit::Exponent(power) => (1, *power),
        };
        let ten = ten + 9 - i32::try_from(part.len()).ok()?;
        let scaled = mantissa.checked_mul(binary)?;
        match u32::try_from(ten) {
            Ok(ten) => scaled.checked_mul(10_i128.checked_pow(ten)?),
            Err(_) => {
                let divisor = 10_i128.checked_pow(ten.unsigned_abs())?;
                Some(scaled / divisor + i128::from(scaled % divisor != 0))
            }
        }
    }

    fn write(&self, nanos: i128) -> String {
        const ONE: i128 = 1_000_000_000;
        if nanos == 0 {
            return "0".to_owned();
        }
        if let Unit::Binary(_) = self
            && nanos >= 1024 * ONE
            && nanos % ONE == 0
        {
            let (mut value, mut power) = (nanos / ONE, 0);
            while value % 1024 == 0 && power + 1 < BINARY.len() {
                value /= 1024;
                power += 1;
            }
            return format!("{value}{}", BINARY[power]);
        }
        let (mut value, mut power) = (nanos, 0);
        while value % 1000 == 0 && power + 1 < DECIMAL.len() {
            value /= 1000;
            power += 1;
        }
        let exponent = i32::try_from(power).unwrap_or_default() * 3 - 9;
        match self {
            Unit::Exponent(_) if exponent == 0 => value.to_string(),
            Unit::Exponent(_) => format!("{value}e{exponent}"),
            _ => format!("{value}{}", DECIMAL[power]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: Form, text: &str, expected: &str) {
        let canonical = canonical(form, text).expect("it is of the form");
        assert_eq!(canonical.as_deref().unwrap_or(text), expected);
    }

    #[test]
    fn quantities_have_one_spelling() {
        for (text, expected) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("100Mi", "100Mi"),
            ("1e3", "1e3"),
            ("12e4", "120e3"),
            ("0Mi", "0"),
            ("-0.1", "-100m"),
            ("+1", "1"),
            ("1500M", "1500M"),
            ("2000M", "2G"),
            ("0.1Ki", "102400m"),
            ("100", "100"),
        ] {
            check(Form::Quantity, text, expected);
        }
        for bad in ["", "x", "1x", "1..2", "Mi", "1 Mi", "--1"] {
            assert!(canonical(Form::Quantity, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments_are_told_in_utc_and_cut() {
        check(Form::Time, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z");
        check(Form::Time, "2024-01-01T00:00:00.9+02:00", "2023-12-31T22:00:00Z");
        check(Form::MicroTime, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000000Z");
        assert!(canonical(Form::Time, "yesterday").is_err());
    }

    #[test]
    fn bytes_are_base64_and_may_be_broken_into_lines() {
        check(Form::Bytes, "YWJj\nYWJj", "YWJj\nYWJj");
        assert_eq!(
            canonical(Form::Bytes, "YW#j"),
            Err("illegal base64 data at input byte 2".to_owned())
        );
    }
}
