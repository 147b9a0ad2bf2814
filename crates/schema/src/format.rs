//! Formats of strings in custom schemas, with the tolerance that Kubernetes
//! shows (Go's parsers, not the letter of each RFC).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use regex::Regex;

/// Whether `text` has `format`; `None` when the format is none that is checked
/// (it is then only documentation). Dashes in the name of a format mean
/// nothing: `date-time` is `datetime`.
pub(crate) fn matches(format: &str, text: &str) -> Option<bool> {
    let name: String = format.chars().filter(|c| *c != '-').collect();
    Some(match name.as_str() {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => is_request_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => ip(text).is_some() && text.contains('.'),
        "ipv6" => ip(text).is_some() && text.contains(':'),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => text.len() == 11 && SSN.is_match(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "rgbcolor" => RGB.is_match(text),
        "byte" => is_base64(text),
        "password" => true,
        "date" => is_date(text),
        "duration" => is_duration(text),
        "datetime" => is_date_time(text),
        "k8sshortname" => text.len() <= 63 && is_label(text),
        "k8slongname" => text.len() <= 253 && text.split('.').all(is_label),
        _ => return None,
    })
}

fn expression(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the expression is a literal that tests compile")
}

static SSN: LazyLock<Regex> = LazyLock::new(|| expression("^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"));

static RGB: LazyLock<Regex> = LazyLock::new(|| {
    let part = r"\s*(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])\s*";
    expression(&format!(r"^rgb\({part},{part},{part}\)$"))
});

static CARD: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        "^(4[0-9]{12}([0-9]{3})?|5[1-5][0-9]{14}|6(011|5[0-9]{2})[0-9]{12}|3[47][0-9]{13}\
         |3(0[0-5]|[68][0-9])[0-9]{11}|(2131|1800|35[0-9]{3})[0-9]{11})$",
    )
});

static SCALA_DURATION: LazyLock<Regex> = LazyLock::new(|| expression(r"([0-9]+)\s*([A-Za-zµ]+)"));

/// An absolute URI, or an absolute path.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b.is_ascii_control()) {
        return false;
    }
    let escapes_hold = |text: &str| {
        text.match_indices('%').all(|(at, _)| {
            text.as_bytes()
                .get(at + 1..at + 3)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        })
    };
    let rest = match scheme(text) {
        Some((_, rest)) => rest,
        None if text.starts_with('/') => text,
        None => return false,
    };
    if !rest.starts_with('/') {
        return !rest.is_empty() || text.contains(':');
    }
    let path = rest.split('?').next().unwrap_or_default();
    let host = match path.strip_prefix("//") {
        Some(after) if scheme(text).is_some() => after.split('/').next().unwrap_or_default(),
        _ => "",
    };
    let host_holds = !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}']);
    host_holds && escapes_hold(path)
}

fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let mut bytes = scheme.bytes();
    let first = bytes.next()?;
    let holds = first.is_ascii_alphabetic()
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    holds.then_some((scheme, rest))
}

/// `a@b.c`, or `Name <a@b.c>`.
fn is_email(text: &str) -> bool {
    let address = match text.trim_end().strip_suffix('>') {
        Some(named) => named.rsplit_once('<').map(|(_, address)| address),
        None => Some(text.trim()),
    };
    let Some((local, domain)) = address.and_then(|address| address.rsplit_once('@')) else {
        return false;
    };
    let atom = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| {
                !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
            })
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let literal = domain.len() > 2 && domain.starts_with('[') && domain.ends_with(']');
    (quoted || local.split('.').all(atom)) && (literal || domain.split('.').all(atom))
}

/// One label has at most one dash, after its first letter; several end in a
/// domain of letters.
fn is_hostname(text: &str) -> bool {
    let member = |c: char| c.is_ascii_alphanumeric() || (!c.is_ascii() && !c.is_whitespace());
    let labels: Vec<&str> = text.split('.').collect();
    if text.len() > 255 || labels.iter().any(|label| label.is_empty() || label.len() > 63) {
        return false;
    }
    let Some((top, below)) = labels.split_last() else { return false };
    if below.is_empty() {
        let mut chars = top.chars();
        let first = chars.next().is_some_and(member);
        let rest = chars.as_str();
        return first && rest.strip_prefix('-').unwrap_or(rest).chars().all(member);
    }
    let label = |label: &&str| {
        label.chars().all(|c| member(c) || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let letters = |c: char| c.is_ascii_alphabetic() || (!c.is_ascii() && c.is_alphabetic());
    below.iter().all(label) && top.chars().count() >= 2 && top.chars().all(letters)
}

/// Leading zeros of an IPv4 part are tolerated, as in Kubernetes.
fn ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut parts = [0_u8; 4];
    let mut split = text.split('.');
    for part in &mut parts {
        let text = split.next()?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *part = text
            .trim_start_matches('0')
            .parse()
            .or_else(|error| match text {
                zeros if zeros.bytes().all(|b| b == b'0') => Ok(0),
                _ => Err(error),
            })
            .ok()?;
    }
    split.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(parts)))
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let max = match ip(address) {
        Some(IpAddr::V4(_)) => 32,
        Some(IpAddr::V6(_)) => 128,
        None => return false,
    };
    bits.len() <= 3
        && bits.bytes().all(|b| b.is_ascii_digit())
        && bits.parse::<u16>().is_ok_and(|bits| bits <= max)
}

/// 6, 8 or 20 bytes, in pairs by `:` or `-` or in fours by `.`.
fn is_mac(text: &str) -> bool {
    let (separator, digits) = match text.as_bytes().get(2) {
        Some(b':') => (':', 2),
        Some(b'-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    matches!(groups.len() * digits, 12 | 16 | 40)
        && groups
            .iter()
            .all(|group| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Each dash may be left out.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut digits = String::with_capacity(32);
    for c in text.chars() {
        match c {
            '-' if matches!(digits.len(), 8 | 12 | 16 | 20) => {}
            c if c.is_ascii_hexdigit() => digits.push(c.to_ascii_lowercase()),
            _ => return false,
        }
    }
    let doubled = text.contains("--") || text.ends_with('-');
    let told = version.is_none_or(|version| digits[..].chars().nth(12) == Some(version));
    let variant = !matches!(version, Some('4' | '5'))
        || digits.chars().nth(16).is_some_and(|c| "89ab".contains(c));
    digits.len() == 32 && !doubled && told && variant
}

fn without_spaces(text: &str) -> Vec<u8> {
    text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'-').collect()
}

fn is_isbn10(text: &str) -> bool {
    let text = without_spaces(text);
    let Some((last, digits)) = text.split_last() else { return false };
    if digits.len() != 9 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let last = match last {
        b'X' => 10,
        digit if digit.is_ascii_digit() => u32::from(digit - b'0'),
        _ => return false,
    };
    let sum: u32 = (1..).zip(digits).map(|(factor, b)| factor * u32::from(b - b'0')).sum();
    (sum + 10 * last).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let text = without_spaces(text);
    if text.len() != 13 || !text.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let weighed = (0..).zip(&text).map(|(at, b)| {
        let factor = if at % 2 == 0 { 1 } else { 3 };
        factor * u32::from(b - b'0')
    });
    weighed.sum::<u32>().is_multiple_of(10)
}

/// By issuer's prefix and Luhn's sum.
fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let sum: u32 = (0..)
        .zip(digits.bytes().rev())
        .map(|(at, b)| {
            let digit = u32::from(b - b'0');
            let doubled = digit * 2;
            match at % 2 {
                0 => digit,
                _ if doubled >= 10 => doubled % 10 + 1,
                _ => doubled,
            }
        })
        .sum();
    CARD.is_match(&digits) && sum.is_multiple_of(10)
}

pub(crate) fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && padding <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn is_date(text: &str) -> bool {
    let form = time::macros::format_description!("[year]-[month]-[day]");
    text.len() == 10 && time::Date::parse(text, &form).is_ok()
}

/// The hour is any of 23, minutes and seconds any of 59; no leap seconds.
fn is_date_time(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let Some((date, clock)) = text.split_once('t') else { return false };
    let Some((hms, rest)) = clock.split_at_checked(8) else { return false };
    let hms = hms.as_bytes();
    let two = |at: usize, max: &[u8]| {
        let digits = &hms[at..at + 2];
        digits.iter().all(u8::is_ascii_digit) && digits <= max
    };
    let rest = match rest.char_indices().nth(1) {
        // Go's expression takes any character before the fraction.
        Some((at, _))
            if rest[at..].starts_with(|c: char| c.is_ascii_digit())
                && !rest.starts_with(['+', '-']) =>
        {
            rest[at..].trim_start_matches(|c: char| c.is_ascii_digit())
        }
        _ => rest,
    };
    let zone = rest == "z" || {
        let zone = rest.as_bytes();
        zone.len() == 6
            && matches!(zone[0], b'+' | b'-')
            && zone[3] == b':'
            && [1, 2, 4, 5].iter().all(|at| zone[*at].is_ascii_digit())
    };
    is_date(date)
        && hms[2] == b':'
        && hms[5] == b':'
        && two(0, b"23")
        && two(3, b"59")
        && two(6, b"59")
        && zone
}

/// Go's `1h30m`, or numbers with units in words anywhere in the text.
pub(crate) fn is_duration(text: &str) -> bool {
    const UNITS: [(&[&str], &str); 8] = [
        (&["ns"], "nano"),
        (&["us", "µs"], "micro"),
        (&["ms"], "milli"),
        (&["s"], "sec"),
        (&["m"], "min"),
        (&["h", "hr"], "hour"),
        (&["d"], "day"),
        (&["w", "wk"], "week"),
    ];
    is_go_duration(text)
        || SCALA_DURATION.captures_iter(text).any(|found| {
            let unit = found[2].to_lowercase();
            UNITS
                .iter()
                .any(|(exact, prefix)| exact.contains(&unit.as_str()) || unit.starts_with(prefix))
        })
}

pub(crate) fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let digits = &rest[..rest.len() - number.len()];
        if digits.matches('.').count() > 1 || !digits.bytes().any(|b| b.is_ascii_digit()) {
            return false;
        }
        let after = number.trim_start_matches(|c: char| c != '.' && !c.is_ascii_digit());
        let unit = &number[..number.len() - after.len()];
        if !matches!(unit, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return false;
        }
        rest = after;
    }
    true
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_takes_what_it_should_and_nothing_else() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("date", &["2024-02-29"], &["2023-02-29", "2024-2-9", ""]),
            (
                "date-time",
                &["2024-01-01T00:00:00Z", "2024-01-01t10:20:30.123+02:00"],
                &["2024-01-01", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00", "T"],
            ),
            ("duration", &["1h30m", "0", "22 ns", "3 days"], &["", "1x", "h"]),
            ("ipv4", &["10.0.0.1", "010.0.0.1"], &["10.0.0", "256.1.1.1", "::1", ""]),
            ("ipv6", &["::1", "2001:db8::1"], &["10.0.0.1", ":::"]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8"]),
            ("uri", &["http://a/b", "/a", "mailto:x"], &["", "a", "http://a b/", "/a%zz"]),
            ("email", &["a@b", "A B <a@b.c>"], &["a", "@b", "a@", "a b@c"]),
            ("hostname", &["a", "a.example.com"], &["", "a_b", "a..b", "-a.com", "a.1"]),
            ("mac", &["00:00:5e:00:53:01", "0000.5e00.5301"], &["00:00", "zz:00:5e:00:53:01"]),
            (
                "uuid",
                &["123E4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"],
                &["123e4567", "123e4567-e89b-12d3-a456-42661417400g"],
            ),
            (
                "uuid4",
                &["123e4567-e89b-42d3-a456-426614174000"],
                &["123e4567-e89b-12d3-a456-426614174000"],
            ),
            ("byte", &["YQ==", "YWJj"], &["YQ=", "Y", "a_b=", ""]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044", "1"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112"]),
            ("ssn", &["111-22-3333"], &["111223333", "1"]),
            ("hexcolor", &["#fff", "00ff00"], &["#ff", "ggg"]),
            ("rgbcolor", &["rgb(0, 255,12)"], &["rgb(256,0,0)"]),
            ("k8s-short-name", &["a-b"], &["A", "-a", ""]),
            ("k8s-long-name", &["a-b.c"], &["a..b"]),
        ];
        for (format, good, bad) in cases {
            for text in *good {
                assert_eq!(matches(format, text), Some(true), "{format} {text:?}");
            }
            for text in *bad {
                assert_eq!(matches(format, text), Some(false), "{format} {text:?}");
            }
        }
        assert_eq!(matches("int-or-string", "x"), None);
    }
}
