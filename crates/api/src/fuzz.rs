//! What must hold for any text that a caller sends, as the fuzz targets ask.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::{
    authn::fuzz::{BootstrapToken, SigningKey, Token, sign},
    catalog,
    registry::Token as Continue,
    selector::{FieldSelector, LabelSelector},
};

/// A label selector, a zero byte, another one, a zero byte, a field selector.
pub fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (one, other, fields) = (next(), next(), next());
    let objects = ["", "a", "b", "1", "-7"].map(labelled);
    if let Ok(selector) = LabelSelector::parse(one) {
        let spaced = LabelSelector::parse(&one.replace(',', " , "));
        assert_eq!(spaced.as_ref(), Ok(&selector), "spaces around commas mean nothing");
        if let Ok(more) = LabelSelector::parse(other)
            && let Ok(both) = LabelSelector::parse(&format!("{one},{other}"))
            && !one.trim().is_empty()
            && !other.trim().is_empty()
        {
            for object in &objects {
                let each = selector.matches(object) && more.matches(object);
                assert_eq!(both.matches(object), each, "all requirements must hold");
            }
        }
    }
    if let Ok(selector) = FieldSelector::parse(fields, catalog::pods()) {
        let spaced = FieldSelector::parse(&format!(" {fields} "), catalog::pods());
        assert_eq!(spaced.as_ref(), Ok(&selector));
        objects.iter().for_each(|object| {
            let _ = selector.matches(object);
        });
    }
}

fn labelled(value: &str) -> Value {
    json!({ "metadata": { "name": value, "labels": { "a": value, "example.com/b": value } } })
}

/// Bearer tokens of all kinds and continue tokens: nothing is believed but what
/// was issued.
pub fn bearer(data: &[u8]) {
    struct World {
        key: SigningKey,
        good: String,
    }
    static WORLD: LazyLock<World> = LazyLock::new(|| {
        let key = SigningKey::generate();
        let claims = json!({ "iss": "us", "sub": "system:serviceaccount:default:till" });
        let good = sign(&key, &claims).expect("it signs");
        World { key, good }
    });
    let World { key, good } = &*WORLD;
    if let Ok(text) = std::str::from_utf8(data) {
        let believed = Token::parse(text).is_some_and(|token| token.is_signed_by(key.public()));
        assert!(!believed || text == good);
        if let Some(token) = BootstrapToken::parse(text) {
            assert!(text.contains(token.secret_name().trim_start_matches("bootstrap-token-")));
        }
        if let Some(token) = Continue::decode(text, "/registry/") {
            let again = Continue::decode(&token.encode(), "/registry/");
            assert_eq!(again.as_ref(), Some(&token));
        }
    }
    // One that was issued, and changed here and there.
    let mut forged = good.clone().into_bytes();
    for change in data.chunks_exact(2) {
        let at = usize::from(change[0]) % forged.len();
        forged[at] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef.-_0"[usize::from(change[1]) % 36];
    }
    forged.truncate(forged.len() - data.len() % 2);
    let forged = String::from_utf8(forged).expect("letters are ASCII");
    let same = Token::parse(good).expect("it is ours");
    if let Some(token) = Token::parse(&forged)
        && token.is_signed_by(key.public())
    {
        // The last character of a signature has bits that mean nothing.
        assert!(token.claims == same.claims && token.is_alike(&same));
    }
}
