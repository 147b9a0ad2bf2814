//! Request headers in HPACK (RFC 7541), as a client that always sends the same
//! ones needs it: spelled out once, a byte each from then on.

/// Where dynamic entries begin, after the static table.
const DYNAMIC_FROM: usize = 62;

const METHOD_POST: u8 = 0x83;
const SCHEME_HTTP: u8 = 0x86;
const SCHEME_HTTPS: u8 = 0x87;

/// Of one connection; its entries never fill the table's 4,096 bytes.
pub(crate) struct Encoder {
    scheme: u8,
    authority: String,
    /// Oldest first.
    known: Vec<(&'static str, String)>,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(scheme: &str, authority: String) -> Encoder {
        let scheme = if scheme == "https" { SCHEME_HTTPS } else { SCHEME_HTTP };
        Encoder { scheme, authority, known: Vec::new() }
    }

    /// Appends the header block of a gRPC request.
    pub fn request(&mut self, path: &str, out: &mut Vec<u8>) {
        out.extend([METHOD_POST, self.scheme]);
        let authority = self.authority.clone();
        for (name, value) in [
            (":path", path),
            (":authority", &authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "polis-bench"),
        ] {
            self.field(name, value, out);
        }
    }

    fn field(&mut self, name: &'static str, value: &str, out: &mut Vec<u8>) {
        if let Some(at) = self.known.iter().position(|known| (known.0, &*known.1) == (name, value))
        {
            let index = DYNAMIC_FROM + self.known.len() - 1 - at;
            out.push(0x80 | u8::try_from(index).expect("a handful of entries"));
            return;
        }
        // Literal with incremental indexing, its name spelled out.
        out.push(0x40);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).expect("short").min(0x7e));
            out.extend_from_slice(text.as_bytes());
        }
        self.known.push((name, value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_spelled_out_once_and_then_named_by_their_place() {
        let mut encoder = Encoder::new("http", "h".into());
        let (mut first, mut second, mut other) = (Vec::new(), Vec::new(), Vec::new());
        encoder.request("/a", &mut first);
        encoder.request("/a", &mut second);
        encoder.request("/b", &mut other);
        assert!(first.starts_with(b"\x83\x86\x40\x05:path\x02/a\x40\x0a:authority\x01h"));
        // The newest entry comes first: user-agent is 62, the path 66.
        assert_eq!(second, [0x83, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
        assert!(other.starts_with(b"\x83\x86\x40\x05:path\x02/b"));
        assert_eq!(other[other.len() - 4..], [0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63]);
    }
}
