//! Request headers in HPACK (RFC 7541), as a client that always sends the same
//! ones needs it: spelled out once, a byte each from then on.

/// Where dynamic entries begin, after the static table.
const DYNAMIC_FROM: usize = 62;

const METHOD_GET: u8 = 0x82;
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
        const FIELDS: [(&str, &str); 2] =
            [("content-type", "application/grpc"), ("te", "trailers")];
        self.head(METHOD_POST, path, &FIELDS, out);
    }

    /// Appends the header block of a request without a body.
    pub fn get(&mut self, path: &str, out: &mut Vec<u8>) {
        self.head(METHOD_GET, path, &[("accept", "*/*")], out);
    }

    fn head(&mut self, method: u8, path: &str, fields: &[(&'static str, &str)], out: &mut Vec<u8>) {
        out.extend([method, self.scheme]);
        let authority = self.authority.clone();
        self.field(":path", path, out);
        self.field(":authority", &authority, out);
        fields.iter().for_each(|(name, value)| self.field(name, value, out));
        self.field("user-agent", "polis-bench", out);
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
        spell(name, value, out);
        self.known.push((name, value.to_owned()));
    }
}

/// Appends a field that has another value each time: it is not remembered.
pub(crate) fn once(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(0);
    spell(name, value, out);
}

fn spell(name: &str, value: &str, out: &mut Vec<u8>) {
    for text in [name, value] {
        out.push(u8::try_from(text.len()).expect("short").min(0x7e));
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_once_takes_no_place_in_the_table() {
        let (mut encoder, mut first, mut second) =
            (Encoder::new("https", "h".into()), Vec::new(), Vec::new());
        encoder.get("/", &mut first);
        once("user", "7", &mut first);
        encoder.get("/", &mut second);
        once("user", "8", &mut second);
        assert!(first.ends_with(b"\0\x04user\x017"));
        assert_eq!(second, b"\x82\x87\xc1\xc0\xbf\xbe\0\x04user\x018");
    }

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
