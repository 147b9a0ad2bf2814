//! Signed tokens in their compact form: `HEADER.CLAIMS.SIGNATURE`.
//!
//! Taken apart under bounds before any key is looked at; nothing in one is
//! believed until [`Token::is_signed_by`] said yes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use super::keys::{Algorithm, PublicKey, SigningKey};
use crate::object;

/// Longest token that is looked at: a head of a request is at most 64 KiB, and
/// identity providers with hundreds of groups stay below this.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub struct Token<'a> {
    pub algorithm: Algorithm,
    /// Empty when the token does not say.
    pub key_id: String,
    pub claims: Value,
    /// What is signed: header and claims as they came.
    signed: &'a str,
    signature: Vec<u8>,
}

// === impl Token ===

impl<'a> Token<'a> {
    /// None when it is no token of this form, or one whose algorithm we do not
    /// take (`none` and shared secrets among them).
    pub fn parse(text: &'a str) -> Option<Token<'a>> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let json = |part: &str| -> Option<Value> {
            let bytes = BASE64.decode(part).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
        };
        let header = json(header)?;
        // Extensions that must be understood: we understand none.
        if header.get("crit").is_some() {
            return None;
        }
        Some(Token {
            algorithm: Algorithm::parse(object::text(&header, "/alg"))?,
            key_id: object::text(&header, "/kid").to_owned(),
            claims: json(claims)?,
            signed,
            signature: BASE64.decode(signature).ok()?,
        })
    }

    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature)
    }

    /// Whether it has the same signature, however that is written.
    pub fn is_alike(&self, other: &Token<'_>) -> bool {
        self.signature == other.signature
    }

    /// Who says to have issued it.
    pub fn issuer(&self) -> &str {
        object::text(&self.claims, "/iss")
    }
}

/// A token that says `claims`.
pub fn sign(key: &SigningKey, claims: &Value) -> Result<String, String> {
    let header = json!({ "alg": key.algorithm().as_str(), "kid": key.public().id() });
    let part = |value: &Value| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", BASE64.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(value: Value) -> String {
        BASE64.encode(value.to_string())
    }

    #[test]
    fn a_signed_token_reads_back_and_changes_are_found() {
        for key in [SigningKey::generate(), SigningKey::generate_rsa()] {
            let text = sign(&key, &json!({"iss": "us", "sub": "ann"})).expect("signs");
            let token = Token::parse(&text).expect("ours");
            assert_eq!((token.issuer(), &*token.key_id), ("us", key.public().id()));
            assert!(token.is_signed_by(key.public()));
            assert!(!token.is_signed_by(SigningKey::generate().public()));
            let (header, rest) = text.split_once('.').expect("dots");
            let (_, signature) = rest.split_once('.').expect("dots");
            let forged =
                format!("{header}.{}.{signature}", part(json!({"iss": "us", "sub": "root"})));
            assert!(!Token::parse(&forged).expect("well formed").is_signed_by(key.public()));
            let cut = &text[..text.len() - 4];
            assert!(Token::parse(cut).is_none_or(|token| !token.is_signed_by(key.public())));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_looked_at_and_none_of_it_believed(text in "\\PC{0,200}", parts in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
            let key = SigningKey::generate();
            for text in [text, parts] {
                let believed = Token::parse(&text).is_some_and(|token| token.is_signed_by(key.public()));
                assert!(!believed, "{text}");
            }
        }

        #[test]
        fn a_token_with_one_character_changed_is_another(at in 0_usize..200, to in "[A-Za-z0-9_.-]") {
            let key = SigningKey::generate();
            let text = sign(&key, &json!({"iss": "us", "sub": "ann"})).expect("signs");
            let at = at % text.len();
            let changed = format!("{}{to}{}", &text[..at], &text[at + 1..]);
            let same = Token::parse(&text).expect("ours");
            if let Some(token) = Token::parse(&changed)
                && token.is_signed_by(key.public())
            {
                // The last character of a signature has bits that mean nothing.
                assert_eq!((token.claims, token.signature), (same.claims, same.signature));
            }
        }
    }

    #[test]
    fn what_is_no_token_of_ours_is_none() {
        let head = |alg: &str| part(json!({"alg": alg}));
        let claims = part(json!({"iss": "us"}));
        let long = format!("{}.{}.c2ln", head("RS256"), "a".repeat(TOKEN_BYTES_MAX));
        for text in [
            "",
            "..",
            "a.b.c",
            "abcdef.0123456789abcdef",
            &format!("{}.{claims}.", head("none")),
            &format!("{}.{claims}.c2ln", head("HS256")),
            &format!("{}.{claims}.c2ln.c2ln", head("ES256")),
            &format!("{}.{claims}.c2ln", part(json!({"alg": "ES256", "crit": ["x"]}))),
            &format!("{}.{}.c2ln", head("ES256"), part(json!([1]))),
            &long,
        ] {
            assert!(Token::parse(text).is_none(), "{}", &text[..text.len().min(40)]);
        }
        assert!(Token::parse(&format!("{}.{claims}.c2ln", head("ES256"))).is_some());
    }
}
