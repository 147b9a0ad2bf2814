//! Regular expressions of schemas: written in RE2's syntax, compiled at first
//! use, matched in linear time.

use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};

/// Of the compiled program. RE2 stops at 1,000 repetitions; this is where such
/// a repetition of a class lies.
const PROGRAM_BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Debug, Default)]
pub struct Pattern {
    text: Arc<str>,
    /// `None` inside: it does not compile.
    program: OnceLock<Option<Regex>>,
}

// === impl Pattern ===

impl Pattern {
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Pattern {
        Pattern { text: text.into(), program: OnceLock::new() }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether any part of `text` matches; nothing matches a pattern that does
    /// not compile (structural schemas with such patterns are refused).
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let program = self.program.get_or_init(|| compile(&self.text).ok());
        program.as_ref().is_some_and(|program| program.is_match(text))
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Pattern {
        Pattern::new(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// The program for a pattern in RE2's syntax, or what is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern)).size_limit(PROGRAM_BYTES_MAX).build().map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        let last = last.trim().trim_start_matches("error: ");
        format!("error parsing regexp: {last}: `{pattern}`")
    })
}

/// From RE2's syntax to that of the `regex` crate, which reads Perl classes as
/// Unicode, knows set operations inside classes, and takes braces literally
/// only when they are escaped.
fn translate(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut at = 0;
    let mut class = false;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        match c {
            '\\' => {
                let Some(next) = next else {
                    out.push('\\');
                    break;
                };
                at += 2;
                if next == 'Q' && !class {
                    at = quoted(&chars, at, &mut out);
                    continue;
                }
                escape(next, class, &mut out);
                continue;
            }
            '[' if class => {
                if next == Some(':') {
                    at = posix(&chars, at, &mut out);
                    continue;
                }
                out.push_str("\\[");
            }
            '[' => {
                class = true;
                out.push('[');
                if next == Some('^') {
                    out.push('^');
                    at += 1;
                }
                // The first bracket is a member of the class.
                if chars.get(at + 1) == Some(&']') {
                    out.push_str("\\]");
                    at += 1;
                }
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            // Two in a row would be a difference of sets.
            '-' if class && next == Some('-') => out.push_str("\\-"),
            '{' if !class && !is_repetition(&chars[at..]) => out.push_str("\\{"),
            c => out.push(c),
        }
        at += 1;
    }
    out
}

fn escape(c: char, class: bool, out: &mut String) {
    let members = match c {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => r"\t\n\x0C\r ",
        'D' => return out.push_str("[^0-9]"),
        'W' => return out.push_str("[^0-9A-Za-z_]"),
        'S' => return out.push_str(r"[^\t\n\x0C\r ]"),
        'b' if !class => return out.push_str(r"(?-u:\b)"),
        '<' | '>' => return out.push(c),
        c => {
            out.push('\\');
            return out.push(c);
        }
    };
    if class {
        out.push_str(members);
    } else {
        out.push('[');
        out.push_str(members);
        out.push(']');
    }
}

/// Copies text up to `\E` literally; answers where to go on.
fn quoted(chars: &[char], mut at: usize, out: &mut String) -> usize {
    let mut text = String::new();
    while at < chars.len() {
        if chars[at] == '\\' && chars.get(at + 1) == Some(&'E') {
            at += 2;
            break;
        }
        text.push(chars[at]);
        at += 1;
    }
    out.push_str(&regex::escape(&text));
    at
}

/// Copies `[:alpha:]` inside a class; a bracket that opens none is a member.
fn posix(chars: &[char], at: usize, out: &mut String) -> usize {
    let rest = &chars[at..];
    let end = rest.windows(2).position(|pair| pair == [':', ']']).filter(|end| *end >= 2);
    let Some(end) = end else {
        out.push_str("\\[");
        return at + 1;
    };
    out.extend(&rest[..end + 2]);
    at + end + 2
}

/// `{2}`, `{2,}`, `{2,3}`.
fn is_repetition(rest: &[char]) -> bool {
    let Some(end) = rest.iter().position(|c| *c == '}') else { return false };
    let inner: String = rest[1..end].iter().collect();
    let (low, high) = inner.split_once(',').unwrap_or((&inner, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        assert!(compile(pattern).is_ok(), "{pattern}: {:?}", compile(pattern));
        Pattern::new(pattern).is_match(text)
    }

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        assert!(matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-b"));
        assert!(matches("a", "xay"));
        assert!(matches(r"^\d+$", "12"));
        assert!(!matches(r"^\d+$", "\u{664}"));
        assert!(!matches(r"^\w$", "é"));
        assert!(matches(r"^[^\s/]+$", "é"));
        assert!(matches(r"^[\w.-]+$", "a.b-c_d"));
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
        assert!(matches("^a{$", "a{"));
        assert!(matches("^{{ x }}$", "{{ x }}"));
        assert!(matches("^a{2,3}$", "aaa"));
        assert!(matches("^[a[]$", "["));
        assert!(matches("^[]a]$", "]"));
        assert!(matches("^[a&&b]+$", "&b"));
        assert!(matches("^[[:alpha:]]+$", "ab"));
        assert!(matches(r"^\<a\>$", "<a>"));
        assert!(matches(r"^\/a\_$", "/a_"));
        assert!(matches(r"\bab\b", "x ab y"));
    }

    #[test]
    fn what_does_not_compile_is_told_and_matches_nothing() {
        let problem = compile("a(b").expect_err("a group is open");
        assert!(problem.starts_with("error parsing regexp: "), "{problem}");
        assert!(compile("(?=a)").is_err());
        assert!(compile(r"\p{L}{1000}{1000}").is_err(), "the program has a bound");
        assert!(!Pattern::new("a(b").is_match("ab"));
    }
}
