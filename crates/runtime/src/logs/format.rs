//! One line of a log, in the CRI format: `TIME STREAM TAG TEXT`.
//!
//! The time has always nine decimals and `Z`, so lines compare as bytes. The tag
//! is `F`, or `P` when the text goes on in the next line. Format: Kubernetes'
//! `kubelet-cri-logging` design.

use std::time::SystemTime;

use time::{OffsetDateTime, macros::format_description};

/// `2026-11-22T11:38:05.123456789Z`
pub(crate) const STAMP_LEN: usize = 30;

/// A longer line is cut into partial ones.
pub(crate) const TEXT_MAX: usize = 16 << 10;

/// Text plus everything before it.
pub(crate) const LINE_MAX: usize = TEXT_MAX + 64;

/// Which of its two a container printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub stamp: &'a [u8],
    pub stream: Stream,
    pub partial: bool,
    pub text: &'a [u8],
}

// === impl Stream ===

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        }
    }
}

pub(crate) fn stamp(now: SystemTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
    let stamp = OffsetDateTime::from(now).format(format);
    stamp.expect("every time between the years 0 and 9999 has this form")
}

pub(crate) fn write(to: &mut Vec<u8>, stamp: &str, stream: Stream, partial: bool, text: &[u8]) {
    to.extend_from_slice(stamp.as_bytes());
    to.push(b' ');
    to.extend_from_slice(stream.name().as_bytes());
    to.extend_from_slice(if partial { b" P " } else { b" F " });
    to.extend_from_slice(text);
    to.push(b'\n');
}

/// `line` without its line feed. `None` if it has another form.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (stamp, rest) = line.split_at_checked(STAMP_LEN)?;
    let (stream, rest) = match rest.strip_prefix(b" stdout ") {
        Some(rest) => (Stream::Out, rest),
        None => (Stream::Err, rest.strip_prefix(b" stderr ")?),
    };
    let (tag, text) = rest.split_at_checked(2)?;
    match tag {
        b"F " => Some(Line { stamp, stream, partial: false, text }),
        b"P " => Some(Line { stamp, stream, partial: true, text }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_795_347_485, 7);
        let mut line = Vec::new();
        write(&mut line, &stamp(at), Stream::Err, false, b"hello  world");
        assert_eq!(line, b"2026-11-22T11:38:05.000000007Z stderr F hello  world\n");
        let read = parse(line.strip_suffix(b"\n").expect("ends with a line feed"));
        let stamp = b"2026-11-22T11:38:05.000000007Z".as_slice();
        let (stream, text) = (Stream::Err, b"hello  world".as_slice());
        assert_eq!(read, Some(Line { stamp, stream, partial: false, text }));
        assert_eq!(parse(b"nonsense"), None);
    }
}
