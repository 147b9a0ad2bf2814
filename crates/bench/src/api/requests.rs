//! Requests, made beforehand: those of one operation differ in some digits, and
//! in what they carry, so that no server keeps it better for being the same.

use std::{cell::Cell, ops::Range};

use rt::random::Random;

use super::http1::{CREATED, OK};

/// Of the number in a name.
const DIGITS: usize = 8;

/// What is carried is made of these, five bits of chance each.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";

/// Letters made of one random number.
const LETTERS_AT_ONCE: usize = 12;

/// What one operation sends.
pub(crate) struct Requests {
    template: Vec<u8>,
    /// Where the number is, wherever it is.
    digits_at: Vec<usize>,
    /// Where it carries what is of no meaning.
    filler: Range<usize>,
    next: Cell<u64>,
    /// Numbers from 0 to this one are used again and again.
    among: Option<u64>,
    /// How each is answered.
    pub status: u16,
}

/// A request without a body.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{HEADERS}\r\n").into_bytes()
}

/// Creates a namespace.
pub(crate) fn namespace(name: &str) -> Vec<u8> {
    let body =
        format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#);
    send("POST", "/api/v1/namespaces", &body)
}

/// What came after `version`.
pub(crate) fn watch(namespace: &str, version: &str) -> Vec<u8> {
    get(&format!(
        "/api/v1/namespaces/{namespace}/configmaps?watch=true&timeoutSeconds=3600&resourceVersion={version}"
    ))
}

/// As much of a list as tells its version.
pub(crate) fn first_of(namespace: &str) -> Vec<u8> {
    get(&format!("/api/v1/namespaces/{namespace}/configmaps?limit=1"))
}

/// The first one in a list or in an event: the list's, or the object's.
pub(crate) fn version_in(text: &[u8]) -> Option<&str> {
    const FIELD: &[u8] = br#""resourceVersion":""#;
    let at = text.windows(FIELD.len()).position(|bytes| bytes == FIELD)? + FIELD.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[at..at + digits]).ok().filter(|digits| !digits.is_empty())
}

const HEADERS: &str = "host: localhost\r\nuser-agent: polis-bench\r\naccept: application/json\r\n";

fn send(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\n{HEADERS}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

// === impl Requests ===

impl Requests {
    /// ConfigMaps of `bytes`, each with a name of its own that begins with `name`.
    pub fn create(namespace: &str, name: &str, bytes: usize) -> Requests {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        Requests::write("POST", &path, name, bytes, None, CREATED)
    }

    /// Replaces one of `among` that [`Requests::create`] made, after the other.
    pub fn update(namespace: &str, name: &str, bytes: usize, among: u64) -> Requests {
        let zeros = "0".repeat(DIGITS);
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}{zeros}");
        Requests::write("PUT", &path, name, bytes, Some(among), OK)
    }

    fn write(
        method: &str,
        path: &str,
        name: &str,
        bytes: usize,
        among: Option<u64>,
        status: u16,
    ) -> Requests {
        let zeros = "0".repeat(DIGITS);
        let begin = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}{zeros}"}},"data":{{"value":""#
        );
        let filler = "x".repeat(bytes.saturating_sub(begin.len() + 3));
        let body = format!("{begin}{filler}\"}}}}");
        let template = send(method, path, &body);
        let filler = template.len() - 3 - filler.len()..template.len() - 3;
        let requests = Requests::new(template, &format!("{name}{zeros}"), among, status);
        Requests { filler, ..requests }
    }

    /// One of `among` that [`Requests::create`] made.
    pub fn get(namespace: &str, name: &str, among: u64) -> Requests {
        let zeros = "0".repeat(DIGITS);
        let template = get(&format!("/api/v1/namespaces/{namespace}/configmaps/{name}{zeros}"));
        Requests::new(template, &format!("{name}{zeros}"), Some(among), OK)
    }

    pub fn list(namespace: &str) -> Requests {
        let template = get(&format!("/api/v1/namespaces/{namespace}/configmaps"));
        Requests::new(template, "", None, OK)
    }

    fn new(template: Vec<u8>, name: &str, among: Option<u64>, status: u16) -> Requests {
        let found = |at: &usize| !name.is_empty() && template[*at..].starts_with(name.as_bytes());
        let ends = (0..template.len()).filter(found).map(|at| at + name.len() - DIGITS);
        let digits_at = ends.collect();
        Requests { digits_at, template, filler: 0..0, next: Cell::new(0), among, status }
    }

    /// Writes the next one over `out`, and tells its number.
    pub fn next(&self, out: &mut Vec<u8>) -> u64 {
        let seed = self.next.get();
        self.next.set(seed + 1);
        let number = self.among.map_or(seed, |among| seed % among);
        out.clone_from(&self.template);
        let digits = format!("{number:0DIGITS$}");
        for &at in &self.digits_at {
            out[at..at + DIGITS].copy_from_slice(digits.as_bytes());
        }
        // Of no other creation, and of no other update: nobody writes what is there.
        let mut random = Random::seeded(seed + self.among.unwrap_or(0));
        for letters in out[self.filler.clone()].chunks_mut(LETTERS_AT_ONCE) {
            let mut chance = random.next_u64();
            for letter in letters {
                *letter = LETTERS[chance as usize % LETTERS.len()];
                chance /= LETTERS.len() as u64;
            }
        }
        number
    }

    /// How many were given out.
    pub fn given(&self) -> u64 {
        self.next.get()
    }
}

/// The number in the name of the object that an event is about, wherever the
/// server puts its name.
pub(crate) fn number_in(event: &[u8], name: &str) -> Option<u64> {
    let at = event.windows(name.len()).position(|bytes| bytes == name.as_bytes())?;
    let digits = event.get(at + name.len()..at + name.len() + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn versions_are_found_in_lists_and_events() {
        let list = br#"{"kind":"ConfigMapList","metadata":{"resourceVersion":"17","continue":"x"},"items":[{"metadata":{"resourceVersion":"3"}}]}"#;
        assert_eq!(version_in(list), Some("17"));
        let event =
            br#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"18"}}}"#;
        assert_eq!(version_in(event), Some("18"));
        assert_eq!(version_in(br#"{"type":"ADDED","object":{}}"#), None);
    }

    #[test]
    fn bodies_are_as_long_as_asked_and_names_are_told_apart() {
        let requests = Requests::create("default", "c-", 600);
        let mut out = Vec::new();
        assert_eq!(requests.next(&mut out), 0);
        assert_eq!(requests.next(&mut out), 1);
        let text = String::from_utf8(out.clone()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains("content-length: 600"), "{head}");
        assert_eq!(body.len(), 600);
        assert!(body.contains(r#""name":"c-00000001""#), "{body}");
        assert!(!body.contains("xxxx") && body.ends_with("\"}}"), "{body}");
        assert_eq!(number_in(&out, "\"c-"), Some(1));
        let gets = Requests::get("default", "c-", 2);
        for _ in 0..3 {
            gets.next(&mut out);
        }
        assert!(out.starts_with(b"GET /api/v1/namespaces/default/configmaps/c-00000000 "));
    }

    #[test]
    fn nothing_is_written_twice_alike_whether_created_or_updated() {
        let requests = Requests::create("default", "c-", 600);
        let updates = Requests::update("default", "c-", 600, 2);
        let mut written = HashSet::new();
        for requests in [&requests, &requests, &updates, &updates, &updates, &updates] {
            let mut out = Vec::new();
            requests.next(&mut out);
            assert!(written.insert(out.split_off(out.len() - 400)), "{written:?}");
        }
        let mut out = Vec::new();
        assert_eq!(updates.next(&mut out), 0);
        assert!(out.starts_with(b"PUT /api/v1/namespaces/default/configmaps/c-00000000 "));
    }
}
