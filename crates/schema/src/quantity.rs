//! Amounts of resources: `500m`, `1.5Gi`, `1e3`.
//!
//! Kept as a whole number of nano-units, the finest step that Kubernetes
//! knows; what is finer is rounded up. A server writes a quantity in its
//! canonical form, whatever was sent: `1000m` comes back as `1`.

use std::{
    fmt,
    ops::{Add, Sub},
};

const NANOS: i128 = 1_000_000_000;

/// Kubernetes caps values there instead of refusing them.
const VALUE_MAX: i128 = i64::MAX as i128;

/// Longer numbers than this say nothing that a cap does not.
const DIGITS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

/// How it was written, and therefore how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `k`, `M`, `m`.
    Decimal,
    /// `Ki`, `Mi`.
    Binary,
    /// `e3`.
    Exponent,
}

// === impl Quantity ===

impl Quantity {
    #[must_use]
    pub fn parse(text: &str) -> Option<Quantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|it: char| !it.is_ascii_digit() && it != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return None;
        }
        let (form, base, exponent) = scale(suffix)?;
        let (magnitude, exact) = match whole.len() + fraction.len() > DIGITS_MAX {
            true => (VALUE_MAX * NANOS, true),
            false => magnitude(whole, fraction, base, exponent),
        };
        // Rounded away from zero, as the original does.
        let magnitude = (magnitude + i128::from(!exact)).min(VALUE_MAX * NANOS);
        let nanos = if text.starts_with('-') { -magnitude } else { magnitude };
        Some(Quantity { nanos, form })
    }

    /// So many whole ones.
    #[must_use]
    pub fn pieces(count: u32) -> Quantity {
        Quantity { nanos: i128::from(count) * NANOS, form: Form::Decimal }
    }

    #[must_use]
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nanos % NANOS == 0
    }

    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }
}

/// The form, and by what a suffix multiplies: a base to a power.
fn scale(suffix: &str) -> Option<(Form, u32, i32)> {
    let at = |form, base, exponent| Some((form, base, exponent));
    match suffix {
        "n" => at(Form::Decimal, 10, -9),
        "u" => at(Form::Decimal, 10, -6),
        "m" => at(Form::Decimal, 10, -3),
        "" => at(Form::Decimal, 10, 0),
        "k" => at(Form::Decimal, 10, 3),
        "M" => at(Form::Decimal, 10, 6),
        "G" => at(Form::Decimal, 10, 9),
        "T" => at(Form::Decimal, 10, 12),
        "P" => at(Form::Decimal, 10, 15),
        "E" => at(Form::Decimal, 10, 18),
        "Ki" => at(Form::Binary, 2, 10),
        "Mi" => at(Form::Binary, 2, 20),
        "Gi" => at(Form::Binary, 2, 30),
        "Ti" => at(Form::Binary, 2, 40),
        "Pi" => at(Form::Binary, 2, 50),
        "Ei" => at(Form::Binary, 2, 60),
        _ => {
            let digits = suffix.strip_prefix(['e', 'E'])?;
            at(Form::Exponent, 10, digits.parse().ok()?)
        }
    }
}

/// Nano-units, rounded down, and whether nothing was lost; capped.
fn magnitude(whole: &str, fraction: &str, base: u32, exponent: i32) -> (i128, bool) {
    let cap = (VALUE_MAX * NANOS, true);
    let fraction = fraction.trim_end_matches('0');
    let Ok(digits) = format!("0{whole}{fraction}").parse::<i128>() else { return cap };
    if digits == 0 {
        return (0, true);
    }
    // digits · 10^tens · 2^twos
    let behind = i32::try_from(fraction.len()).expect("bounded by DIGITS_MAX");
    let (tens, twos) = match base {
        10 => (exponent.saturating_add(9).saturating_sub(behind), 0),
        _ => (9 - behind, exponent.unsigned_abs()),
    };
    let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
    let Some(digits) = digits.checked_shl(twos).filter(|it| it >> twos == digits) else {
        return cap;
    };
    match power(tens) {
        Some(power) if tens >= 0 => digits.checked_mul(power).map_or(cap, |it| (it, true)),
        None if tens >= 0 => cap,
        Some(power) => (digits / power, digits % power == 0),
        None => (0, false),
    }
}

impl Add for Quantity {
    type Output = Quantity;

    /// Shown as the first was written, unless that was nothing.
    fn add(self, other: Quantity) -> Quantity {
        let form = if self.nanos == 0 { other.form } else { self.form };
        let bound = VALUE_MAX * NANOS;
        Quantity { nanos: (self.nanos + other.nanos).clamp(-bound, bound), form }
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        self + Quantity { nanos: -other.nanos, form: other.form }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        self.nanos.partial_cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quantity { nanos, form } = *self;
        // Small and broken amounts would lose something in powers of 1024.
        let binary = form == Form::Binary && self.is_whole() && nanos.abs() >= 1024 * NANOS;
        if binary {
            let (mut value, mut power) = (nanos / NANOS, 0);
            while value % 1024 == 0 && power < 6 {
                value /= 1024;
                power += 1;
            }
            let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power];
            return write!(f, "{value}{suffix}");
        }
        if nanos == 0 {
            return f.write_str("0");
        }
        let (mut value, mut exponent) = (nanos, -9);
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        match (form, exponent) {
            (_, 0) => write!(f, "{value}"),
            (Form::Exponent, _) => write!(f, "{value}e{exponent}"),
            _ => {
                let index = usize::try_from((exponent + 9) / 3).expect("from -9 upwards");
                let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index];
                write!(f, "{value}{suffix}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn amounts_are_shown_in_their_canonical_form() {
        for (written, shown) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1500m", "1500m"),
            ("100000", "100k"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("0.5Ki", "512"),
            ("1Ki", "1Ki"),
            ("1000Ki", "1000Ki"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e2", "1200"),
            ("1e-3", "1e-3"),
            ("-1.5", "-1500m"),
            ("+2k", "2k"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("128974848", "128974848"),
            ("129M", "129M"),
            ("123Mi", "123Mi"),
            ("9223372036854775807", "9223372036854775807"),
            ("10000000000000000000", "9223372036854775807"),
            ("1e99", "9223372036854775807"),
        ] {
            let parsed = Quantity::parse(written).unwrap_or_else(|| panic!("{written}"));
            assert_eq!(parsed.to_string(), shown, "{written}");
            assert_eq!(Quantity::parse(shown).expect(shown).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for odd in ["", "-", ".", "1.2.3", "1 ", "Ki", "1K", "1kk", "e3", "1e", "0x1", "1ei", "--1"]
        {
            assert_eq!(Quantity::parse(odd), None, "{odd}");
        }
        assert!(Quantity::parse(&"9".repeat(500)).is_some());
    }

    #[test]
    fn sums_are_shown_as_their_first_amount_was_written() {
        let of = |text| Quantity::parse(text).expect(text);
        for (a, b, sum, rest) in [
            ("1Gi", "1G", "2073741824", "73741824"),
            ("0", "1Gi", "1Gi", "-1Gi"),
            ("500m", "1", "1500m", "-500m"),
            ("9223372036854775807", "1", "9223372036854775807", "9223372036854775806"),
        ] {
            assert_eq!((of(a) + of(b)).to_string(), sum, "{a} + {b}");
            assert_eq!((of(a) - of(b)).to_string(), rest, "{a} - {b}");
        }
        assert_eq!((Quantity::pieces(2) + Quantity::pieces(1)).to_string(), "3");
    }

    #[test]
    fn amounts_compare_by_value() {
        let of = |text| Quantity::parse(text).expect(text);
        assert!(of("1Gi") > of("1G") && of("999m") < of("1") && of("-1") < of("0"));
        assert!(of("1e-3") <= of("1m") && !of("500m").is_whole());
    }
}
