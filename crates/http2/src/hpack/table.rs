//! The two tables that indices point into (RFC 7541, section 2.3).
//!
//! What a field is gets decided when it enters a table, so that a request whose
//! fields are all indexed is neither parsed nor checked again.

use std::collections::VecDeque;

use bytes::Bytes;

/// What an entry counts beside its bytes.
pub const ENTRY_BYTES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: Bytes,
    pub value: Bytes,
    pub kind: Kind,
}

/// What a field means to HTTP/2 itself (RFC 9113, sections 8.2 and 8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    ContentLength,
    Regular,
    /// Makes a head malformed.
    Wrong,
}

/// Entries of this connection, newest first.
#[derive(Debug)]
pub struct Dynamic {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// Rises with every change.
    version: u64,
}

/// An entry of the static table, from 1.
pub fn fixed(index: usize) -> Option<Entry> {
    let (name, value) = STATIC.get(index.checked_sub(1)?)?;
    let kind = match index {
        1 => Kind::Authority,
        2 | 3 => Kind::Method,
        4 | 5 => Kind::Path,
        6 | 7 => Kind::Scheme,
        8..=14 => Kind::Status,
        28 => Kind::ContentLength,
        57 => Kind::Wrong,
        _ => Kind::Regular,
    };
    let (name, value) = (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()));
    Some(Entry { name, value, kind })
}

/// Where the static table has `name`, the first of several.
pub fn fixed_name(name: &[u8]) -> Option<usize> {
    let near = BY_LENGTH.get(name.len())?;
    let is_it = |at: &&u8| STATIC[usize::from(**at) - 1].0.as_bytes() == name;
    near.iter().take_while(|at| **at > 0).find(is_it).map(|at| usize::from(*at))
}

/// The longest name of the static table.
const NAME_BYTES_MAX: usize = 27;
/// Names of one length, more than there are of any.
const NEAR_MAX: usize = 12;

/// Indices by the length of the name, so that few have to be compared.
static BY_LENGTH: [[u8; NEAR_MAX]; NAME_BYTES_MAX + 1] = by_length();

const fn by_length() -> [[u8; NEAR_MAX]; NAME_BYTES_MAX + 1] {
    let mut all = [[0; NEAR_MAX]; NAME_BYTES_MAX + 1];
    let mut at = 0;
    while at < STATIC.len() {
        let length = STATIC[at].0.len();
        let is_next = at == 0 || length != STATIC[at - 1].0.len() || !is_same(at, at - 1);
        if is_next {
            let mut free = 0;
            while all[length][free] > 0 {
                free += 1;
            }
            all[length][free] = at as u8 + 1;
        }
        at += 1;
    }
    all
}

const fn is_same(a: usize, b: usize) -> bool {
    let (a, b) = (STATIC[a].0.as_bytes(), STATIC[b].0.as_bytes());
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

pub const FIXED: usize = STATIC.len();

// === impl Entry ===

impl Entry {
    pub fn new(name: Bytes, value: Bytes) -> Entry {
        let kind = Kind::of(&name, &value);
        Entry { name, value, kind }
    }

    /// As HPACK counts it.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.value.len() + ENTRY_BYTES
    }
}

// === impl Kind ===

impl Kind {
    fn of(name: &[u8], value: &[u8]) -> Kind {
        if !is_value(value) {
            return Kind::Wrong;
        }
        match name {
            b":method" => Kind::Method,
            b":scheme" => Kind::Scheme,
            b":authority" => Kind::Authority,
            b":path" => Kind::Path,
            b":status" => Kind::Status,
            b"content-length" => Kind::ContentLength,
            b"te" if value != b"trailers" => Kind::Wrong,
            // What was said about one connection means nothing on another.
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding"
            | b"upgrade" => Kind::Wrong,
            name if is_name(name) => Kind::Regular,
            _ => Kind::Wrong,
        }
    }
}

/// A token, in lower case.
fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| {
        matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\''
            | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
    };
    !name.is_empty() && name.iter().all(is_token)
}

/// Nothing that would be a line of its own elsewhere.
fn is_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    value.iter().all(is_visible) && !is_blank(value.first()) && !is_blank(value.last())
}

// === impl Dynamic ===

impl Dynamic {
    pub fn new(bytes_max: usize) -> Dynamic {
        Dynamic { entries: VecDeque::new(), bytes: 0, bytes_max, version: 0 }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The newest is 0.
    pub fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    pub fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.shrink(bytes_max);
    }

    /// One that is larger than the table empties it, as the RFC says.
    pub fn insert(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        self.shrink(self.bytes_max.saturating_sub(bytes));
        self.version += 1;
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            self.entries.push_front(entry);
        }
    }

    fn shrink(&mut self, bytes_max: usize) {
        self.version += 1;
        while self.bytes > bytes_max {
            let oldest = self.entries.pop_back().expect("bytes belong to entries");
            self.bytes -= oldest.bytes();
        }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
