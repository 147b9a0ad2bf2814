//! Tokens of service accounts: issued here, bound to what they are for, and
//! believed as long as that stands.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    jwt::{self, Token},
    keys::{PublicKey, SigningKey},
};
use crate::{
    authz::ACCOUNT_PREFIX,
    caller::{Caller, Extra},
    object,
};

/// Clocks may differ by this much, as in Kubernetes.
const LEEWAY_S: i64 = 60;

pub const EXPIRATION_S_DEFAULT: i64 = 3600;
pub const EXPIRATION_S_MIN: i64 = 10 * 60;
pub const EXPIRATION_S_MAX: i64 = 1 << 32;

/// What kubelets ask for pods of clients that do not read their token again:
/// such a token lives for a year and is reported from then on.
const WARNED_AFTER_S: i64 = 60 * 60 + 7;
const EXTENDED_S: i64 = 365 * 24 * 60 * 60;

const ALL_ACCOUNTS: &str = "system:serviceaccounts";

/// Claim under which Kubernetes' own are kept.
const KUBERNETES: &str = "kubernetes.io";

pub struct Accounts {
    /// The first one signs, all are believed.
    pub issuers: Vec<String>,
    /// What tokens for this server are for.
    pub audiences: Vec<String>,
    pub signing: Option<SigningKey>,
    pub verifying: Vec<PublicKey>,
}

/// Whom a token is of, and what it is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub namespace: String,
    pub account: Ref,
    pub pod: Option<Ref>,
    pub secret: Option<Ref>,
    pub node: Option<Ref>,
    /// Of the token itself.
    pub id: String,
}

/// An object that must still be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ref {
    pub name: String,
    pub uid: String,
}

/// What of it is there now.
#[derive(Default)]
pub struct Live {
    pub account: Option<Value>,
    pub pod: Option<Value>,
    pub secret: Option<Value>,
    pub node: Option<Value>,
}

/// A token to be made.
pub struct Wanted<'a> {
    pub bound: Bound,
    pub audiences: &'a [String],
    pub expiration_s: i64,
}

// === impl Accounts ===

impl Accounts {
    /// Whether the token says to be one of ours.
    pub fn claims(&self, token: &Token<'_>) -> bool {
        self.issuers.iter().any(|issuer| issuer == token.issuer())
    }

    /// Whom the token is of and which of the `wanted` audiences it is for.
    pub fn verify(
        &self,
        token: &Token<'_>,
        now: OffsetDateTime,
        wanted: &[String],
    ) -> Result<(Bound, Vec<String>), String> {
        let named = |key: &&PublicKey| token.key_id.is_empty() || token.key_id == key.id();
        if !self.verifying.iter().filter(named).any(|key| token.is_signed_by(key)) {
            return Err("invalid signature, no keys found".into());
        }
        let audiences = audiences(&token.claims);
        let meant: Vec<String> =
            wanted.iter().filter(|audience| audiences.contains(audience)).cloned().collect();
        if meant.is_empty() {
            return Err(format!(
                "token audiences {audiences:?} is invalid for the target audiences {wanted:?}"
            ));
        }
        check_times(&token.claims, now.unix_timestamp())?;
        Ok((Bound::of(&token.claims)?, meant))
    }

    /// A signed token, and when it ends as its owner is told.
    pub fn issue(
        &self,
        wanted: &Wanted<'_>,
        now: OffsetDateTime,
    ) -> Result<(String, OffsetDateTime), String> {
        let key = self.signing.as_ref().ok_or("no signing key")?;
        let issuer = self.issuers.first().ok_or("no issuer")?;
        let at = now.unix_timestamp();
        let extended = wanted.expiration_s == WARNED_AFTER_S
            && wanted.bound.pod.is_some()
            && wanted.audiences == self.audiences;
        let lifetime = if extended { EXTENDED_S } else { wanted.expiration_s };
        let mut own = wanted.bound.to_claim();
        if extended {
            own["warnafter"] = (at + WARNED_AFTER_S).into();
        }
        let claims = json!({
            "aud": wanted.audiences,
            "exp": at + lifetime,
            "iat": at,
            "iss": issuer,
            "jti": wanted.bound.id,
            KUBERNETES: own,
            "nbf": at,
            "sub": wanted.bound.user_name(),
        });
        let token = jwt::sign(key, &claims)?;
        Ok((token, now + time::Duration::seconds(wanted.expiration_s)))
    }
}

/// One text or a list of them.
fn audiences(claims: &Value) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// A token without an end is none of ours.
pub fn check_times(claims: &Value, now: i64) -> Result<(), String> {
    #[expect(clippy::cast_possible_truncation, reason = "a second is enough")]
    let at = |claim: &str| claims.get(claim).and_then(Value::as_f64).map(|at| at as i64);
    if at("exp").is_none_or(|ends| ends.saturating_add(LEEWAY_S) < now) {
        return Err("token has expired".into());
    }
    if at("nbf").is_some_and(|begins| begins.saturating_sub(LEEWAY_S) > now) {
        return Err("token is not valid yet".into());
    }
    Ok(())
}

// === impl Bound ===

impl Bound {
    fn of(claims: &Value) -> Result<Bound, String> {
        let own = claims.get(KUBERNETES).unwrap_or(&Value::Null);
        let bound = Bound {
            namespace: object::text(own, "/namespace").to_owned(),
            account: Ref::of(own, "serviceaccount").unwrap_or_default(),
            pod: Ref::of(own, "pod"),
            secret: Ref::of(own, "secret"),
            node: Ref::of(own, "node"),
            id: object::text(claims, "/jti").to_owned(),
        };
        let whole = !bound.namespace.is_empty() && !bound.account.name.is_empty();
        match whole && object::text(claims, "/sub") == bound.user_name() {
            true => Ok(bound),
            false => Err("the token names no service account".into()),
        }
    }

    fn to_claim(&self) -> Value {
        let mut claim = json!({
            "namespace": self.namespace,
            "serviceaccount": self.account.to_value(),
        });
        for (name, bound) in [("pod", &self.pod), ("secret", &self.secret), ("node", &self.node)] {
            if let Some(bound) = bound {
                claim[name] = bound.to_value();
            }
        }
        claim
    }

    pub fn user_name(&self) -> String {
        format!("{ACCOUNT_PREFIX}{}:{}", self.namespace, self.account.name)
    }

    /// Who shows the token, if all it is bound to stands.
    pub fn caller(&self, live: &Live, now: OffsetDateTime) -> Result<Caller, String> {
        let stands = |what: &str, wanted: &Ref, there: Option<&Value>| {
            let there = there.ok_or_else(|| format!("{what} {:?} is not there", wanted.name))?;
            // What is being deleted stands until its grace is over.
            let until = object::parse_timestamp(object::text(there, "/metadata/deletionTimestamp"));
            let gone = until.is_some_and(|at| at + time::Duration::seconds(LEEWAY_S) < now);
            match gone || object::uid(there) != wanted.uid {
                true => Err(format!("{what} {:?} is another or going", wanted.name)),
                false => Ok(()),
            }
        };
        stands("service account", &self.account, live.account.as_ref())?;
        if let Some(secret) = &self.secret {
            stands("secret", secret, live.secret.as_ref())?;
        }
        if let Some(pod) = &self.pod {
            stands("pod", pod, live.pod.as_ref())?;
        } else if let Some(node) = &self.node {
            stands("node", node, live.node.as_ref())?;
        }
        let caller = Caller::user(self.user_name(), groups(&self.namespace));
        Ok(caller.with_uid(self.account.uid.clone()).with_extra(self.extra()))
    }

    fn extra(&self) -> Extra {
        let mut extra = Extra::new();
        let mut add = |key: &str, value: &str| {
            let key = format!("authentication.kubernetes.io/{key}");
            extra.insert(key, vec![value.to_owned()]);
        };
        if !self.id.is_empty() {
            add("credential-id", &format!("JTI={}", self.id));
        }
        for (what, bound) in [("pod", &self.pod), ("node", &self.node)] {
            if let Some(Ref { name, uid }) = bound {
                add(&format!("{what}-name"), name);
                add(&format!("{what}-uid"), uid);
            }
        }
        extra
    }
}

/// The groups of every account of `namespace`.
pub fn groups(namespace: &str) -> [String; 2] {
    [ALL_ACCOUNTS.to_owned(), format!("{ALL_ACCOUNTS}:{namespace}")]
}

// === impl Ref ===

impl Ref {
    fn of(claim: &Value, field: &str) -> Option<Ref> {
        let own = claim.get(field).filter(|own| own.is_object())?;
        let text = |pointer| object::text(own, pointer).to_owned();
        Some(Ref { name: text("/name"), uid: text("/uid") })
    }

    fn to_value(&self) -> Value {
        json!({ "name": self.name, "uid": self.uid })
    }
}

#[cfg(test)]
#[path = "service_account_tests.rs"]
mod tests;
