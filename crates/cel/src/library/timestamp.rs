//! Points in time, and parts of them.

use std::cmp::Ordering;
use std::fmt;

use super::Apply;
use crate::error::EvalError;
use crate::value::Value;

pub const SIGNATURES: &str = "
    timestamp . getFullYear() -> int
    timestamp . getFullYear(string) -> int
    timestamp . getMonth() -> int
    timestamp . getMonth(string) -> int
    timestamp . getDayOfYear() -> int
    timestamp . getDayOfYear(string) -> int
    timestamp . getDayOfMonth() -> int
    timestamp . getDayOfMonth(string) -> int
    timestamp . getDate() -> int
    timestamp . getDate(string) -> int
    timestamp . getDayOfWeek() -> int
    timestamp . getDayOfWeek(string) -> int
    timestamp . getHours() -> int
    timestamp . getHours(string) -> int
    duration . getHours() -> int
    timestamp . getMinutes() -> int
    timestamp . getMinutes(string) -> int
    duration . getMinutes() -> int
    timestamp . getSeconds() -> int
    timestamp . getSeconds(string) -> int
    duration . getSeconds() -> int
    timestamp . getMilliseconds() -> int
    timestamp . getMilliseconds(string) -> int
    duration . getMilliseconds() -> int
";

const SECOND: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;
/// The first second of the year 1, and the last of 9999.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A point in time; the offset it was written with is shown, never compared.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
    offset_seconds: i32,
}

#[derive(Debug, PartialEq)]
pub enum Error {
    Malformed,
    Overflow,
}

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "getFullYear" => |_, args| part(args, |at| at.date().year, None),
        "getMonth" => |_, args| part(args, |at| at.date().month - 1, None),
        "getDayOfYear" => |_, args| part(args, |at| at.day_of_year(), None),
        "getDayOfMonth" => |_, args| part(args, |at| at.date().day - 1, None),
        "getDate" => |_, args| part(args, |at| at.date().day, None),
        "getDayOfWeek" => |_, args| part(args, |at| (at.days() + 4).rem_euclid(7), None),
        "getHours" => |_, args| part(args, |at| at.of_day() / 3600, Some(3600 * SECOND)),
        "getMinutes" => |_, args| part(args, |at| at.of_day() / 60 % 60, Some(60 * SECOND)),
        "getSeconds" => |_, args| part(args, |at| at.of_day() % 60, Some(SECOND)),
        "getMilliseconds" => {
            |_, args| part(args, |at| i64::from(at.nanos) / 1_000_000, Some(SECOND / 1000))
        }
        _ => return None,
    })
}

/// A part of a point in time, in UTC or a zone; of a duration how many whole
/// units it has.
fn part<'a>(
    args: &[Value<'a>],
    of: fn(Timestamp) -> i64,
    unit: Option<i64>,
) -> Result<Value<'a>, EvalError> {
    match (args, unit) {
        ([Value::Timestamp(at)], _) => Ok(Value::Int(of(at.at_offset(0)))),
        ([Value::Timestamp(at), Value::Text(zone)], _) => {
            Ok(Value::Int(of(at.at_offset(offset_of(zone)?))))
        }
        ([Value::Duration(nanos)], Some(unit)) => Ok(Value::Int(nanos / unit)),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Seconds east of UTC. Of zones with a name only UTC is known: where the
/// others are is data that a pure crate has not.
fn offset_of(zone: &str) -> Result<i32, EvalError> {
    let Some((hours, minutes)) = zone.split_once(':') else {
        return match zone {
            "" | "UTC" => Ok(0),
            _ => Err(EvalError::new(format!("unknown time zone {zone}"))),
        };
    };
    let number = |text: &str| {
        let message = || format!("strconv.Atoi: parsing \"{text}\": invalid syntax");
        text.parse::<i32>().map_err(|_| EvalError::new(message()))
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if !(0..60).contains(&minutes) || hours.abs() > 1000 {
        let message = format!("timezone offset minutes out of range [0, 59]: {zone}");
        return Err(EvalError::new(message));
    }
    Ok(60 * if zone.starts_with('-') { hours * 60 - minutes } else { hours * 60 + minutes })
}

// === impl Timestamp ===

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Timestamp {
    pub fn new(seconds: i64, nanos: u32) -> Result<Timestamp, EvalError> {
        if RANGE.contains(&seconds) {
            return Ok(Timestamp { seconds, nanos, offset_seconds: 0 });
        }
        Err(EvalError::new("timestamp overflow"))
    }

    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    pub(super) fn add(self, nanos: i64) -> Result<Timestamp, EvalError> {
        let nanos = i128::from(self.nanos) + i128::from(nanos);
        let second = i128::from(SECOND);
        let seconds = i128::from(self.seconds) + nanos.div_euclid(second);
        let seconds = i64::try_from(seconds).map_err(|_| EvalError::new("timestamp overflow"))?;
        let at = Timestamp::new(seconds, nanos.rem_euclid(second) as u32)?;
        Ok(Timestamp { offset_seconds: self.offset_seconds, ..at })
    }

    pub(super) fn since(self, other: Timestamp) -> Result<i64, EvalError> {
        let nanos = i128::from(self.seconds - other.seconds) * i128::from(SECOND)
            + i128::from(self.nanos)
            - i128::from(other.nanos);
        i64::try_from(nanos).map_err(|_| EvalError::new("duration overflow"))
    }

    fn at_offset(self, offset_seconds: i32) -> Timestamp {
        Timestamp { offset_seconds, ..self }
    }

    fn local(self) -> i64 {
        self.seconds + i64::from(self.offset_seconds)
    }

    fn days(self) -> i64 {
        self.local().div_euclid(DAY_SECONDS)
    }

    fn of_day(self) -> i64 {
        self.local().rem_euclid(DAY_SECONDS)
    }

    fn day_of_year(self) -> i64 {
        self.days() - days_of(self.date().year, 1, 1)
    }

    /// The day's date, by counting from the first of March: leap days are then
    /// the last of their year.
    fn date(self) -> Date {
        let days = self.days() + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Date { year, month, day: of_year - (153 * shifted + 2) / 5 + 1 }
    }
}

/// Days from 1970 to a date.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = (month + 9) % 12;
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Timestamp) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Timestamp) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Timestamp) -> Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.date(), self.of_day());
        let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
        let Date { year, month, day } = date;
        write!(f, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}")?;
        if self.nanos > 0 {
            let fraction = format!("{:09}", self.nanos);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        if self.offset_seconds == 0 {
            return f.write_str("Z");
        }
        let minutes = self.offset_seconds.abs() / 60;
        let sign = if self.offset_seconds < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// RFC 3339.
pub fn parse(text: &str) -> Result<Timestamp, Error> {
    let mut reader = Reader { rest: text };
    let at = reader.date_time(false).ok_or(Error::Malformed)?;
    if RANGE.contains(&at.seconds) { Ok(at) } else { Err(Error::Overflow) }
}

/// The same with less required: a zone, its colon, seconds.
pub fn parse_loose(text: &str) -> Option<Timestamp> {
    Reader { rest: &text.to_uppercase() }.date_time(true)
}

pub fn parse_date(text: &str) -> Option<Timestamp> {
    let mut reader = Reader { rest: text };
    let days = reader.date()?;
    let seconds = days * DAY_SECONDS;
    reader.rest.is_empty().then_some(Timestamp { seconds, nanos: 0, offset_seconds: 0 })
}

struct Reader<'a> {
    rest: &'a str,
}

// === impl Reader ===

impl Reader<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits =
            self.rest.get(..count).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        self.rest = &self.rest[count..];
        digits.parse().ok()
    }

    fn eat(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        let month = self.eat('-').then(|| self.digits(2))??;
        let day = self.eat('-').then(|| self.digits(2))??;
        if !(1..=12).contains(&month) {
            return None;
        }
        let begin = days_of(year, month, 1);
        let next = if month == 12 { days_of(year + 1, 1, 1) } else { days_of(year, month + 1, 1) };
        (1..=next - begin).contains(&day).then(|| begin + day - 1)
    }

    fn date_time(&mut self, loose: bool) -> Option<Timestamp> {
        let days = self.date()?;
        if !(self.eat('T') || (loose && self.eat(' '))) {
            return None;
        }
        let hours = self.digits(2)?;
        let minutes = self.eat(':').then(|| self.digits(2))??;
        let seconds = match self.eat(':') {
            true => self.digits(2)?,
            false if loose => 0,
            false => return None,
        };
        if hours > 23 || minutes > 59 || seconds > 59 {
            return None;
        }
        let nanos = if self.eat('.') { self.fraction()? } else { 0 };
        let offset = self.offset(loose)?;
        if !self.rest.is_empty() {
            return None;
        }
        let local = days * DAY_SECONDS + hours * 3600 + minutes * 60 + seconds;
        Some(Timestamp { seconds: local - i64::from(offset), nanos, offset_seconds: offset })
    }

    fn fraction(&mut self) -> Option<u32> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.is_empty() {
            return None;
        }
        format!("{:0<9}", &digits[..digits.len().min(9)]).parse().ok()
    }

    fn offset(&mut self, loose: bool) -> Option<i32> {
        if self.eat('Z') || (loose && self.rest.is_empty()) {
            return Some(0);
        }
        let sign = if self.eat('-') {
            -1
        } else if self.eat('+') {
            1
        } else {
            return None;
        };
        let hours = self.digits(2)?;
        if !self.eat(':') && !loose {
            return None;
        }
        let minutes = self.digits(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) as i32)
    }
}
