//! What a request says before its body, and what an answer does.

use bytes::Bytes;

use crate::hpack::{Entry, Kind};

/// Shared by all requests of a connection that say the same: a client that
/// only names what it has said before has its head parsed once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub method: Bytes,
    pub scheme: Bytes,
    pub authority: Bytes,
    /// Empty only with CONNECT.
    pub path: Bytes,
    pub fields: Vec<Field>,
    pub content_length: Option<u64>,
}

/// Of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<Field>,
    pub content_length: Option<u64>,
}

/// The name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Bytes,
    pub value: Bytes,
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Malformed,
    TooLarge,
}

/// Of a call of gRPC, and one or two that proxies add.
const FIELDS: usize = 8;

/// Gathers fields in the order they come.
pub(crate) struct Gathering {
    head: Head,
    status: Bytes,
    bytes_left: usize,
    pseudo: Seen,
    unfit: Option<Unfit>,
}

#[derive(Default)]
struct Seen {
    method: bool,
    scheme: bool,
    authority: bool,
    path: bool,
    status: bool,
}

// === impl Head ===

impl Head {
    /// The first field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }
}

// === impl Gathering ===

impl Gathering {
    pub fn new(bytes_max: usize) -> Gathering {
        Gathering {
            head: Head { fields: Vec::with_capacity(FIELDS), ..Head::default() },
            status: Bytes::new(),
            bytes_left: bytes_max,
            pseudo: Seen::default(),
            unfit: None,
        }
    }

    pub fn field(&mut self, entry: &Entry) {
        if self.unfit.is_some() {
            return;
        }
        match self.bytes_left.checked_sub(entry.bytes()) {
            Some(left) => self.bytes_left = left,
            None => return self.unfit = Some(Unfit::TooLarge),
        }
        if !self.take(entry) {
            self.unfit = Some(Unfit::Malformed);
        }
    }

    /// False if it may not stand here.
    fn take(&mut self, entry: &Entry) -> bool {
        let (head, seen) = (&mut self.head, &mut self.pseudo);
        let value = entry.value.clone();
        let (place, seen) = match entry.kind {
            Kind::Method => (&mut head.method, &mut seen.method),
            Kind::Scheme => (&mut head.scheme, &mut seen.scheme),
            Kind::Authority => (&mut head.authority, &mut seen.authority),
            Kind::Path => (&mut head.path, &mut seen.path),
            Kind::Status => (&mut self.status, &mut seen.status),
            Kind::Wrong => return false,
            Kind::ContentLength => {
                let Some(length) = length(&value) else { return false };
                if head.content_length.is_some_and(|before| before != length) {
                    return false;
                }
                head.content_length = Some(length);
                head.fields.push(Field { name: entry.name.clone(), value });
                return true;
            }
            Kind::Regular => {
                head.fields.push(Field { name: entry.name.clone(), value });
                return true;
            }
        };
        let in_place = head.fields.is_empty() && !std::mem::replace(seen, true);
        *place = value;
        in_place
    }

    /// A request's.
    pub fn request(self) -> Result<Head, Unfit> {
        let Gathering { head, pseudo, unfit, .. } = self;
        if let Some(unfit) = unfit {
            return Err(unfit);
        }
        let is_whole = match &head.method[..] {
            b"CONNECT" => pseudo.authority && !pseudo.path && !pseudo.scheme,
            b"OPTIONS" if head.path == "*" => pseudo.scheme,
            _ => pseudo.method && pseudo.scheme && head.path.starts_with(b"/"),
        };
        if is_whole && !pseudo.status { Ok(head) } else { Err(Unfit::Malformed) }
    }

    /// An answer's.
    pub fn response(self) -> Result<Response, Unfit> {
        let Gathering { head, status, pseudo, unfit, .. } = self;
        if let Some(unfit) = unfit {
            return Err(unfit);
        }
        let is_request = pseudo.method || pseudo.scheme || pseudo.authority || pseudo.path;
        match *status {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] if !is_request => {
                let digit = |byte: u8| u16::from(byte - b'0');
                let status = digit(a) * 100 + digit(b) * 10 + digit(c);
                let Head { fields, content_length, .. } = head;
                Ok(Response { status, fields, content_length })
            }
            _ => Err(Unfit::Malformed),
        }
    }

    /// What comes after a body.
    pub fn trailers(self) -> Result<Vec<Field>, Unfit> {
        let Seen { method, scheme, authority, path, status } = self.pseudo;
        match self.unfit {
            Some(unfit) => Err(unfit),
            None if method || scheme || authority || path || status => Err(Unfit::Malformed),
            None => Ok(self.head.fields),
        }
    }
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = |value: &[u8]| value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|value| digits(value.as_bytes()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> Result<Head, Unfit> {
        let mut gathering = Gathering::new(4096);
        for (name, value) in fields {
            gathering.field(&Entry::new((*name).into(), (*value).into()));
        }
        gathering.request()
    }

    const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":path", "/")];

    #[test]
    fn a_head_is_whole_and_in_order_or_malformed() {
        let head = request(&[&GET[..], &[("te", "trailers"), ("x", "y")]].concat()).expect("whole");
        assert_eq!((&head.path[..], head.get("x").map(|x| &x[..])), (&b"/"[..], Some(&b"y"[..])));
        for more in [
            ("X", "upper case"),
            ("", "no name"),
            ("a b", "no token"),
            (":status", "200"),
            (":unknown", "x"),
            (":path", "/twice"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("x", "a\r\nb: c"),
            ("x", "\0"),
            ("x", " padded"),
            ("content-length", "-1"),
            ("content-length", ""),
        ] {
            assert_eq!(request(&[&GET[..], &[more]].concat()), Err(Unfit::Malformed), "{more:?}");
        }
        for fields in [
            &GET[..2],
            &GET[1..],
            &[GET[0], GET[2]],
            &[GET[0], GET[1], (":path", "")],
            &[GET[0], GET[1], ("x", "y"), GET[2]],
            &[GET[0], GET[1], GET[2], ("content-length", "1"), ("content-length", "2")],
            &[(":method", "CONNECT"), (":authority", "a"), (":path", "/")],
        ] {
            assert_eq!(request(fields), Err(Unfit::Malformed), "{fields:?}");
        }
        assert!(request(&[(":method", "CONNECT"), (":authority", "a:1")]).is_ok());
    }

    #[test]
    fn a_head_beyond_its_bound_is_too_large_whatever_else_it_is() {
        let mut gathering = Gathering::new(100);
        for _ in 0..3 {
            gathering.field(&Entry::new("a".into(), "b".into()));
        }
        assert_eq!(gathering.request(), Err(Unfit::TooLarge));
    }
}
