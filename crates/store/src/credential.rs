//! What a caller shows to say who it is, and what that turns out to be.

use std::sync::{Arc, OnceLock};

use keyspace::auth::{Caller, UserName};
use kv::Error;

use crate::guard::Guard;

#[derive(Clone)]
pub(crate) enum Credential {
    /// This process itself.
    Trusted,
    Nobody,
    /// The common name of a certificate that TLS has verified.
    Certificate(UserName),
    Token(Arc<Token>),
}

/// Verified once: a stream that was opened with a token outlives it, as long as
/// its user stays who it was.
pub(crate) struct Token {
    text: String,
    verified: OnceLock<Caller>,
}

// === impl Credential ===

impl Credential {
    pub fn token(text: &str) -> Credential {
        Credential::Token(Arc::new(Token { text: text.to_owned(), verified: OnceLock::new() }))
    }

    /// For another request that shows the same: a token is looked at again.
    pub fn afresh(&self) -> Credential {
        match self {
            Credential::Token(token) => Credential::token(&token.text),
            other => other.clone(),
        }
    }

    /// As etcd, looks at no token while auth is off.
    pub async fn caller(&self, guard: &Guard) -> Result<Caller, Error> {
        let token = match self {
            Credential::Trusted => return Ok(Caller::Trusted),
            Credential::Nobody => return Ok(Caller::Nobody),
            Credential::Certificate(name) => return Ok(Caller::Certificate(name.clone())),
            Credential::Token(token) => token,
        };
        if let Some(caller) = token.verified.get() {
            return Ok(caller.clone());
        }
        let auth = match guard.auth() {
            Some(auth) => auth,
            None => guard.loaded().await?,
        };
        if !auth.is_enabled() {
            return Ok(Caller::Nobody);
        }
        let caller = guard.tokens.verify(&auth, &token.text)?;
        Ok(token.verified.get_or_init(|| caller).clone())
    }
}
