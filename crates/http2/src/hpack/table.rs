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
        // Statuses are said by servers.
        8..=14 => Kind::Wrong,
        28 => Kind::ContentLength,
        57 => Kind::Wrong,
        _ => Kind::Regular,
    };
    let (name, value) = (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()));
    Some(Entry { name, value, kind })
}

/// Where the static table has `name`.
pub fn fixed_name(name: &[u8]) -> Option<usize> {
    STATIC.iter().position(|(known, _)| known.as_bytes() == name).map(|at| at + 1)
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
