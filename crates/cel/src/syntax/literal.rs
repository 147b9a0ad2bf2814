//! What literals mean.

const UNABLE: &str = "unable to unescape string";

/// The text of a string token.
pub fn text(token: &str) -> Result<String, &'static str> {
    let inner = Inner::of(token);
    let bytes = inner.unescape(false)?;
    String::from_utf8(bytes).map_err(|_| UNABLE)
}

/// The bytes of a bytes token.
pub fn bytes(token: &str) -> Result<Vec<u8>, &'static str> {
    Inner::of(&token[1..]).unescape(true)
}

pub fn int(token: &str, negative: bool) -> Option<i64> {
    let (digits, radix) = digits(token);
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

pub fn uint(token: &str) -> Option<u64> {
    let (digits, radix) = digits(&token[..token.len() - 1]);
    u64::from_str_radix(digits, radix).ok()
}

pub fn float(token: &str, negative: bool) -> Option<f64> {
    let value: f64 = token.parse().ok()?;
    if value.is_infinite() {
        return None;
    }
    Some(if negative { -value } else { value })
}

fn digits(token: &str) -> (&str, u32) {
    match token.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (token, 10),
    }
}

/// What stands between the quotes.
struct Inner {
    content: String,
    raw: bool,
}

impl Inner {
    /// Newlines of all systems are `\n`.
    fn of(token: &str) -> Inner {
        let token = token.replace("\r\n", "\n").replace('\r', "\n");
        let (token, raw) = match token.strip_prefix(['r', 'R']) {
            Some(rest) => (rest, true),
            None => (token.as_str(), false),
        };
        let marks = if token.len() >= 6 && (token.starts_with("'''") || token.starts_with("\"\"\""))
        {
            3
        } else {
            1
        };
        Inner { content: token[marks..token.len() - marks].to_string(), raw }
    }

    fn unescape(&self, as_bytes: bool) -> Result<Vec<u8>, &'static str> {
        if self.raw {
            return Ok(self.content.clone().into_bytes());
        }
        let mut out = Vec::with_capacity(self.content.len());
        let mut rest = self.content.as_str();
        while let Some(at) = rest.find('\\') {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            rest = escape(&rest[at + 1..], as_bytes, &mut out)?;
        }
        out.extend_from_slice(rest.as_bytes());
        Ok(out)
    }
}

/// One escape, behind its backslash.
fn escape<'a>(text: &'a str, as_bytes: bool, out: &mut Vec<u8>) -> Result<&'a str, &'static str> {
    let mut chars = text.chars();
    let c = chars.next().ok_or(UNABLE)?;
    let simple = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' | '`' | '?' => c as u8,
        'x' | 'X' => return coded(&text[1..], 2, 16, as_bytes, out),
        'u' if !as_bytes => return coded(&text[1..], 4, 16, as_bytes, out),
        'U' if !as_bytes => return coded(&text[1..], 8, 16, as_bytes, out),
        '0'..='3' => return coded(text, 3, 8, as_bytes, out),
        _ => return Err(UNABLE),
    };
    out.push(simple);
    Ok(chars.as_str())
}

fn coded<'a>(
    text: &'a str,
    digits: usize,
    radix: u32,
    as_bytes: bool,
    out: &mut Vec<u8>,
) -> Result<&'a str, &'static str> {
    let code = text.get(..digits).ok_or(UNABLE)?;
    let value = u32::from_str_radix(code, radix).map_err(|_| UNABLE)?;
    if as_bytes {
        out.push(u8::try_from(value).map_err(|_| UNABLE)?);
    } else {
        let c = char::from_u32(value).ok_or("invalid unicode code point")?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(&text[digits..])
}
