//! What is wrong with an expression, and where.

use std::fmt;
use std::sync::Arc;

/// More issues than these are counted, not shown.
const SHOWN_MAX: usize = 100;
/// A longer line is not shown below its issue.
const SNIPPET_BYTES_MAX: usize = 16_384;

/// One thing that is wrong. Its place is a byte offset; `None` is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub at: Option<usize>,
    pub message: String,
}

/// All that is wrong with one expression, in the order of its text. Shown as
/// cel-go shows it: place, message, the line, and a mark below the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issues {
    source: Arc<str>,
    issues: Vec<Issue>,
}

// === impl Issue ===

impl Issue {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Issue {
        Issue { at: Some(at), message: message.into() }
    }
}

// === impl Issues ===

impl Issues {
    pub(crate) fn new(source: &str, mut issues: Vec<Issue>) -> Issues {
        issues.sort_by_key(|issue| issue.at);
        Issues { source: source.into(), issues }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Issue> {
        self.issues.iter()
    }
}

impl std::error::Error for Issues {}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.issues.iter().take(SHOWN_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            show(f, &self.source, issue)?;
        }
        match self.issues.len().checked_sub(SHOWN_MAX) {
            Some(more) if more > 0 => write!(f, "\n{more} more errors were truncated"),
            _ => Ok(()),
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>, source: &str, issue: &Issue) -> fmt::Result {
    let Some(at) = issue.at else {
        return write!(f, "ERROR: <input>:-1:0: {}", issue.message);
    };
    let before = &source[..at];
    let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[begin..].chars().count();
    write!(f, "ERROR: <input>:{line}:{}: {}", column + 1, issue.message)?;
    let text = source[begin..].split('\n').next().unwrap_or_default();
    if text.len() > SNIPPET_BYTES_MAX {
        return Ok(());
    }
    write!(f, "\n | {}\n | ", text.replace('\t', " "))?;
    for c in before[begin..].chars() {
        f.write_str(if c.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
    }
    match source[at..].chars().next() {
        Some(c) if c.len_utf8() > 1 => f.write_str("\u{ff3e}"),
        _ => f.write_str("^"),
    }
}
