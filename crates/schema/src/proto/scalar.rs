//! Values that JSON writes as text and protobuf does not: times, durations.

use std::fmt::Write as _;

const DAY_S: i64 = 86_400;

/// Seconds since 1970 and nanoseconds of an RFC 3339 time.
pub fn parse_time(text: &str) -> Option<(i64, u32)> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    };
    let at = |index: usize, wanted: &[u8]| bytes.get(index).is_some_and(|b| wanted.contains(b));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let in_month = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !in_month || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let digits = fraction.get(..len).filter(|digits| !digits.is_empty())?;
        let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
        nanos = nine.parse().ok()?;
        rest = &fraction[len..];
    }
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let two = |tens: &u8, ones: &u8| {
                let digit = |b: &u8| b.is_ascii_digit().then(|| i64::from(b - b'0'));
                Some(digit(tens)? * 10 + digit(ones)?)
            };
            let seconds = two(h1, h2)? * 3600 + two(m1, m2)? * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    Some((seconds - offset, nanos))
}

/// RFC 3339 in UTC; with microseconds where they are wanted. `None` when the
/// year has more than four digits.
pub fn format_time(seconds: i64, micros: Option<u32>) -> Option<String> {
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil_from_days(days)?;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if let Some(micros) = micros {
        let _ = write!(text, ".{micros:06}");
    }
    text.push('Z');
    Some(text)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of the proleptic Gregorian calendar. Years begin in March,
/// so that leap days come last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> Option<(i64, i64, i64)> {
    let days = days.checked_add(719_468)?;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era.checked_mul(400)? + year_of_era + i64::from(month <= 2);
    (0..=9999).contains(&year).then_some((year, month, day))
}

/// Nanoseconds of Go's `1h30m`, `1.5s`, `-2us`.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanos = 0_i128;
    while !rest.is_empty() {
        let len = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at(len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos += scaled(number, unit)?;
        // A bound on the sum, long before it could overflow.
        i64::try_from(nanos).ok()?;
        rest = tail;
    }
    i64::try_from(if negative { -nanos } else { nanos }).ok()
}

fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than nanoseconds of an hour have say nothing.
    let fraction = fraction.get(..fraction.len().min(15))?;
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<i128>().ok()? * unit / 10_i128.pow(digits.len() as u32),
    };
    Some(i128::from(whole) * unit + part)
}

/// As Go writes durations: `1h30m0s`, `1.5s`, `20ms`.
pub fn format_duration(nanos: i64) -> String {
    let (sign, value) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let fraction = |unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let text = format!("{}.{:0digits$}", value / unit, value % unit);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        format!("{sign}{text}{name}")
    };
    match value {
        0 => "0s".into(),
        1..1_000 => format!("{sign}{value}ns"),
        1_000..1_000_000 => fraction(1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(1_000_000, "ms"),
        _ => {
            let seconds = value / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = value - (seconds - seconds % 60) * 1_000_000_000;
            let text = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            match (hours, minutes) {
                (0, 0) => format!("{sign}{text}s"),
                (0, _) => format!("{sign}{minutes}m{text}s"),
                _ => format!("{sign}{hours}h{minutes}m{text}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let check = |text: &str, expected: Option<(i64, u32)>| {
            assert_eq!(parse_time(text), expected, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some((0, 0)));
        check("2026-11-23T04:30:01Z", Some((1_795_408_201, 0)));
        check("2026-11-23T06:30:01.25+02:00", Some((1_795_408_201, 250_000_000)));
        check("0001-01-01T00:00:00Z", Some((-62_135_596_800, 0)));
        check("2024-02-29T00:00:00Z", Some((1_709_164_800, 0)));
        check("2023-02-29T00:00:00Z", None);
        check("2023-02-28", None);
        check("2023-02-28T00:00:00", None);
        check("2023-02-28T00:00:00.Z", None);
        check("2023-02-2äT00:00:00Z", None);
        assert_eq!(format_time(1_795_408_201, None).as_deref(), Some("2026-11-23T04:30:01Z"));
        assert_eq!(format_time(-1, Some(7)).as_deref(), Some("1969-12-31T23:59:59.000007Z"));
        assert_eq!(format_time(i64::MAX, None), None);
        for day in (-700_000..2_900_000).step_by(997) {
            let seconds = day * DAY_S + 4242;
            let text = format_time(seconds, None).expect("four digits");
            assert_eq!(parse_time(&text), Some((seconds, 0)));
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        let check = |text: &str, nanos: i64, shown: &str| {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
            assert_eq!(format_duration(nanos), shown);
        };
        check("0", 0, "0s");
        check("90m", 5_400_000_000_000, "1h30m0s");
        check("1.5s", 1_500_000_000, "1.5s");
        check("-20ms", -20_000_000, "-20ms");
        check("1us", 1_000, "1µs");
        check("61s", 61_000_000_000, "1m1s");
        check("3ns", 3, "3ns");
        for wrong in ["", "s", "1", "1.2.3s", ".s", "1y", "9999999999h", "1s-"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
