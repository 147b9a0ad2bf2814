//! URLs, read as Go reads those of requests.

use std::fmt;
use std::sync::Arc;

use super::{Apply, LibraryValue};
use crate::error::EvalError;
use crate::value::{Entries, Map, Value};

pub const SIGNATURES: &str = "
    url(string) -> url
    isURL(string) -> bool
    url . getScheme() -> string
    url . getHost() -> string
    url . getHostname() -> string
    url . getPort() -> string
    url . getEscapedPath() -> string
    url . getQuery() -> map(string, list(string))
";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Url {
    scheme: String,
    /// Behind the scheme of what has no path, as `mailto:x`.
    opaque: String,
    user: Option<String>,
    host: String,
    /// Escaped.
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "url" => |_, args| match args {
            [Value::Text(text)] => match parse(text) {
                Ok(url) => Ok(Value::library(LibraryValue::Url(url))),
                Err(why) => Err(EvalError::new(format!(
                    "URL parse error during conversion from string: {why}"
                ))),
            },
            _ => Err(EvalError::no_such_overload()),
        },
        "isURL" => |_, args| match args {
            [Value::Text(text)] => Ok(Value::Bool(parse_request(text).is_ok())),
            _ => Err(EvalError::no_such_overload()),
        },
        "getScheme" => |_, args| part(args, |url| url.scheme.clone()),
        "getHost" => |_, args| part(args, |url| url.host.clone()),
        "getHostname" => |_, args| part(args, |url| url.name_and_port().0.to_string()),
        "getPort" => |_, args| part(args, |url| url.name_and_port().1.to_string()),
        "getEscapedPath" => |_, args| part(args, |url| url.path.clone()),
        "getQuery" => |_, args| query(args),
        _ => return None,
    })
}

fn of<'v>(args: &'v [Value<'_>]) -> Result<&'v Url, EvalError> {
    match args {
        [Value::Library(value)] => match &**value {
            LibraryValue::Url(url) => Ok(url),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn part<'a>(args: &[Value<'a>], part: fn(&Url) -> String) -> Result<Value<'a>, EvalError> {
    Ok(Value::text(part(of(args)?)))
}

fn query<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut all: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    let query = of(args)?.query.as_deref().unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Ok(key), Ok(value)) = (unescape(key, true), unescape(value, true)) else { continue };
        match all.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(Value::text(value)),
            None => all.push((key, vec![Value::text(value)])),
        }
    }
    let mut entries = Entries::default();
    for (key, values) in all {
        entries.insert(Value::text(key), Value::list(values))?;
    }
    Ok(Value::Map(Map::Made(Arc::new(entries))))
}

fn parse(text: &str) -> Result<Url, String> {
    parse_request(text)?;
    let (rest, fragment) = text.split_once('#').map_or((text, None), |(a, b)| (a, Some(b)));
    let url = read(rest, false).map_err(|why| format!("parse {text:?}: {why}"))?;
    Ok(Url { fragment: fragment.map(Into::into), ..url })
}

/// Whether it may stand in a request: a path from the root, or a whole URL.
pub fn parse_request(text: &str) -> Result<Url, String> {
    read(text, true).map_err(|why| format!("parse {text:?}: {why}"))
}

fn read(text: &str, request: bool) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    if text.is_empty() && request {
        return Err("empty url".into());
    }
    let mut url = Url::default();
    if text == "*" {
        url.path = "*".into();
        return Ok(url);
    }
    let (scheme, rest) = scheme(text)?;
    url.scheme = scheme.to_lowercase();
    let (mut rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
    url.query = query.map(Into::into);
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.into();
            return Ok(url);
        }
        if request {
            return Err("invalid URI for request".into());
        }
        if rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let authority = !url.scheme.is_empty() || (!request && !rest.starts_with("///"));
    if authority && let Some(behind) = rest.strip_prefix("//") {
        let end = behind.find('/').unwrap_or(behind.len());
        let (place, path) = behind.split_at(end);
        let (user, host) = place.rsplit_once('@').map_or((None, place), |(a, b)| (Some(a), b));
        url.user = user.map(Into::into);
        url.host = checked_host(host)?;
        rest = path;
    }
    url.path = escaped_path(rest)?;
    Ok(url)
}

/// The scheme, if there is one, and the rest.
fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn checked_host(host: &str) -> Result<String, String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.find(':').map_or("", |colon| &host[colon..])
    };
    let digits = port.strip_prefix(':').map(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if !(port.is_empty() || digits == Some(true)) {
        return Err(format!("invalid port {port:?} after host"));
    }
    let wrong = host.chars().find(|c| c.is_ascii() && " \"<>\\^`{|}".contains(*c));
    match wrong {
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => unescape(host, false),
    }
}

/// As it is written if it may be, else escaped anew.
fn escaped_path(path: &str) -> Result<String, String> {
    let plain = unescape(path, false)?;
    let may_stay =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte);
    if path.bytes().all(may_stay) {
        return Ok(path.into());
    }
    let mut escaped = String::new();
    for byte in plain.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(escaped)
}

fn unescape(text: &str, query: bool) -> Result<String, String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'%' => {
                let code = text
                    .get(at + 1..at + 3)
                    .filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let Some(code) = code else {
                    let shown: String = text[at..].chars().take(3).collect();
                    return Err(format!("invalid URL escape {shown:?}"));
                };
                plain.push(u8::from_str_radix(code, 16).unwrap_or_default());
                bytes.nth(1);
            }
            b'+' if query => plain.push(b' '),
            byte => plain.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&plain).into_owned())
}

// === impl Url ===

impl Url {
    fn name_and_port(&self) -> (&str, &str) {
        let (name, port) = match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
            _ => (self.host.as_str(), ""),
        };
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        (inner.unwrap_or(name), port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if !self.scheme.is_empty() && self.opaque.is_empty() || !self.host.is_empty() {
            f.write_str("//")?;
        }
        f.write_str(&self.opaque)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}{}", self.host, self.path)?;
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        match &self.fragment {
            Some(fragment) => write!(f, "#{fragment}"),
            None => Ok(()),
        }
    }
}
