//! Whom a request is about: a text from wherever it stands.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header, request};

use crate::{
    call::{rule::CallKey, view::View},
    config::model,
    route::query,
};

/// As much of a body as is held to look for a field in it.
pub(crate) const JSON_BYTES_MAX: usize = 64 << 10;
/// Longer texts are no keys.
const KEY_BYTES_MAX: usize = 256;

pub(crate) struct KeyRule {
    header: Option<HeaderName>,
    cookie: Option<String>,
    query: Option<String>,
    path_segment: Option<usize>,
    jwt_claim: Option<String>,
    json_field: Option<Vec<String>>,
    call: CallKey,
    slice: Option<[i32; 2]>,
}

// === impl KeyRule ===

impl KeyRule {
    pub(crate) fn new(model: &model::Key) -> KeyRule {
        let header = model.header.as_ref().map(|name| {
            HeaderName::from_bytes(name.get_ref().as_bytes()).expect("checked: it is a name")
        });
        let fields = |path: &String| path.split('.').map(str::to_owned).collect();
        KeyRule {
            header,
            cookie: model.cookie.clone(),
            query: model.query.clone(),
            path_segment: model.path_segment,
            jwt_claim: model.jwt_claim.clone(),
            json_field: model.json_field.as_ref().map(fields),
            call: CallKey::new(model),
            slice: model.slice,
        }
    }

    /// Whether a request whose head has none may have it in its body.
    pub(crate) fn looks_into_body(&self) -> bool {
        self.json_field.is_some()
    }

    /// From the head.
    pub(crate) fn of_head<'a>(&self, head: &'a request::Parts) -> Option<Cow<'a, str>> {
        // What is there and says nothing hides nothing.
        let some = |text: &&str| !text.is_empty();
        let found = self
            .of_header(&head.headers)
            .filter(some)
            .or_else(|| cookie(&head.headers, self.cookie.as_ref()?).filter(some))
            .or_else(|| query(head.uri.query(), self.query.as_ref()?).filter(some))
            .or_else(|| head.uri.path().split('/').nth(self.path_segment? + 1).filter(some))
            .map(Cow::Borrowed)
            .or_else(|| claim(&head.headers, self.jwt_claim.as_ref()?).map(Cow::Owned))?;
        self.cut(found)
    }

    /// From a call of Bolt or Dubbo.
    pub(crate) fn of_call<'a>(&self, view: &mut View<'a>) -> Option<Cow<'a, str>> {
        self.cut(self.call.of(view)?)
    }

    /// From a body that is JSON.
    pub(crate) fn of_body(&self, body: &[u8]) -> Option<String> {
        let mut value: serde_json::Value = serde_json::from_slice(body).ok()?;
        for field in self.json_field.as_ref()? {
            value = match value {
                serde_json::Value::Object(mut map) => map.remove(field)?,
                serde_json::Value::Array(mut list) => {
                    let at: usize = field.parse().ok()?;
                    (at < list.len()).then(|| list.swap_remove(at))?
                }
                _ => return None,
            };
        }
        self.cut(Cow::Owned(text(value)?)).map(Cow::into_owned)
    }

    fn of_header<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut values = headers.get_all(self.header.as_ref()?).iter();
        match (values.next(), values.next()) {
            // Of two, each hop could believe another.
            (Some(value), None) => value.to_str().ok().map(str::trim),
            _ => None,
        }
    }

    fn cut<'a>(&self, text: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if text.len() > KEY_BYTES_MAX {
            return None;
        }
        let Some([from, to]) = self.slice else { return Some(text) };
        let length = i32::try_from(text.len()).ok()?;
        let place = |at: i32| usize::try_from(if at < 0 { length + at } else { at }).ok();
        let (from, to) = (place(from)?, if to == 0 { text.len() } else { place(to)? });
        let cut = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(from..to)?),
            Cow::Owned(text) => Cow::Owned(text.get(from..to)?.to_owned()),
        };
        Some(cut).filter(|cut| !cut.is_empty())
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Read and not verified: it routes, and gives no right to anything.
fn claim(headers: &HeaderMap, name: &str) -> Option<String> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let payload = base64url(token.split('.').nth(1)?)?;
    let mut claims: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&payload).ok()?;
    text(claims.remove(name)?)
}

fn text(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

/// RFC 4648 section 5, without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for letter in text.bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> KeyRule {
        KeyRule::new(&toml::from_str(text).expect("a rule"))
    }

    fn head(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
        let builder =
            headers.iter().fold(http::Request::builder().uri(uri), |b, (n, v)| b.header(*n, *v));
        builder.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_key_is_found_wherever_it_stands() {
        let check = |text: &str, uri: &str, headers: &[(&str, &str)], expected: Option<&str>| {
            assert_eq!(
                rule(text).of_head(&head(uri, headers)).as_deref(),
                expected,
                "{text} {uri} {headers:?}"
            );
        };
        check("header = 'X-Uid'", "/", &[("x-uid", " 42 ")], Some("42"));
        check("header = 'x-uid'", "/", &[("x-uid", "42"), ("x-uid", "43")], None);
        check("header = 'x-uid'\ncookie = 'u'", "/", &[("cookie", "a=b; u=7")], Some("7"));
        check("query = 'u'", "/?a=b&u=7", &[], Some("7"));
        check("path_segment = 1", "/users/7/x", &[], Some("7"));
        check("path_segment = 9", "/users/7/x", &[], None);
        check("header = 'u'\nslice = [-3, -1]", "/", &[("u", "2088001234")], Some("23"));
        check("header = 'u'\nslice = [-2, 0]", "/", &[("u", "2088001234")], Some("34"));
        check("header = 'u'\nslice = [-3, -1]", "/", &[("u", "1")], None);
        // {"sub":"alice","uid":42}
        let token = "Bearer e30.eyJzdWIiOiJhbGljZSIsInVpZCI6NDJ9.x";
        check("jwt_claim = 'sub'", "/", &[("authorization", token)], Some("alice"));
        check("jwt_claim = 'uid'", "/", &[("authorization", token)], Some("42"));
        check("jwt_claim = 'no'", "/", &[("authorization", token)], None);
        check("jwt_claim = 'sub'", "/", &[("authorization", "Bearer a.%%.c")], None);
    }

    #[test]
    fn a_field_of_a_body_is_found() {
        let rule = rule("json_field = 'payer.id'");
        assert_eq!(rule.of_body(br#"{"payer":{"id":"7"}}"#).as_deref(), Some("7"));
        assert_eq!(rule.of_body(br#"{"payer":{"id":7}}"#).as_deref(), Some("7"));
        for none in [&b"{\"payer\":7}"[..], b"[]", b"{", b"", b"{\"payer\":{\"id\":null}}"] {
            assert_eq!(rule.of_body(none), None);
        }
    }
}
