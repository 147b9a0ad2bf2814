//! Durations, as Go writes them.

use crate::value::characters;

/// Units, longest names first where one begins like another.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

#[derive(Debug)]
pub struct Malformed;

/// `1h30m`, `-1.5s`, `0`: nanoseconds.
pub fn parse(text: &str) -> Result<i64, Malformed> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(Malformed);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(Malformed)?;
        let (number, behind) = rest.split_at(end);
        let length = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(length);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(Malformed)?;
        total = total.checked_add(amount(number, *nanos)?).ok_or(Malformed)?;
        rest = behind;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| Malformed)
}

/// A number with a point, of a unit.
fn amount(number: &str, nanos: i64) -> Result<i128, Malformed> {
    /// Further digits are less than any unit can show.
    const DIGITS_MAX: usize = 18;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(Malformed);
    }
    let digits = |text: &str| -> Result<i128, Malformed> {
        if text.is_empty() {
            Ok(0)
        } else {
            text.parse::<i64>().map(i128::from).map_err(|_| Malformed)
        }
    };
    let nanos = i128::from(nanos);
    let fraction = &fraction[..fraction.len().min(DIGITS_MAX)];
    let scale = 10_i128.pow(fraction.len() as u32);
    Ok(digits(whole)? * nanos + digits(fraction)? * nanos / scale)
}

/// The same, and `3 days`, as the format `duration` of a schema takes it.
pub fn parse_loose(text: &str) -> Option<i64> {
    if let Ok(nanos) = parse(text) {
        return Some(nanos);
    }
    const WORDS: [(&[&str], i64); 8] = [
        (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
        (&["us", "µs", "micro", "micros", "microsecond", "microseconds"], 1_000),
        (&["ms", "milli", "millis", "millisecond", "milliseconds"], 1_000_000),
        (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
        (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
        (&["h", "hr", "hour", "hours"], 3_600_000_000_000),
        (&["d", "day", "days"], 86_400_000_000_000),
        (&["w", "wk", "week", "weeks"], 604_800_000_000_000),
    ];
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let word = text[end..].trim_start().to_lowercase();
    let (_, nanos) = WORDS.iter().find(|(names, _)| names.contains(&word.as_str()))?;
    text[..end].parse::<i64>().ok()?.checked_mul(*nanos)
}

/// Seconds, with as many digits as are needed.
#[must_use]
pub fn to_text(nanos: i64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, rest) = (nanos.unsigned_abs() / SECOND, nanos.unsigned_abs() % SECOND);
    let fraction = format!("{rest:09}");
    let fraction = fraction.trim_end_matches('0');
    let point = if characters(fraction) > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}s")
}
