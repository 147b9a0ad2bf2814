//! The query string.

/// Pairs in order, decoded. More than this many are refused by [`Query::parse`].
/// A command of `exec` is one pair a word.
const PAIRS_MAX: usize = 1024;

#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    pub fn parse(raw: Option<&str>) -> Option<Query> {
        let mut pairs = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PAIRS_MAX {
                return None;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key, true)?, decode(value, true)?));
        }
        Some(Query(pairs))
    }

    /// Pairs as they are; none when there are too many.
    pub fn of(pairs: Vec<(String, String)>) -> Option<Query> {
        (pairs.len() <= PAIRS_MAX).then_some(Query(pairs))
    }

    /// The first value of `key` that is not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, value)| name == key && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// All values of `key`, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// `key`, `key=1` and `key=true` are true, as for kube-apiserver.
    pub fn flag(&self, key: &str) -> bool {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.is_some_and(|(_, value)| !matches!(value.as_str(), "0" | "false" | "False"))
    }

    /// Whether `key` was said at all, and what.
    pub fn tristate(&self, key: &str) -> Option<bool> {
        self.0.iter().any(|(name, _)| name == key).then(|| self.flag(key))
    }

    /// The pairs whose key is in `keys`, encoded again.
    pub fn only(&self, keys: &[&str]) -> String {
        let kept = self.0.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        let pairs: Vec<String> =
            kept.map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        pairs.join("&")
    }
}

/// Percent-decoding; none when it is malformed or not UTF-8.
pub fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_bad_escapes_are_refused() {
        let query = Query::parse(Some("a=b%3Dc&watch&x=&n=1+2&f=false")).expect("well formed");
        assert_eq!(query.get("a"), Some("b=c"));
        assert_eq!(query.get("x"), None);
        assert_eq!(query.get("n"), Some("1 2"));
        assert!(query.flag("watch") && !query.flag("f") && !query.flag("other"));
        assert_eq!(query.tristate("f"), Some(false));
        assert_eq!(query.only(&["a"]), "a=b%3Dc");
        for bad in ["a=%", "a=%zz", "a=%ff", "%4=b"] {
            assert!(Query::parse(Some(bad)).is_none(), "{bad}");
        }
    }
}
