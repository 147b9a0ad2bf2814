//! People known by an identity provider (OpenID Connect): what an ID token must
//! say, and whom it then stands for.

use serde_json::Value;
use time::OffsetDateTime;

use super::{jwt::Token, keys::Algorithm, service_account::check_times};
use crate::caller::Caller;

/// As kube-apiserver's `--oidc-*` flags.
#[derive(Clone, Debug)]
pub struct Provider {
    /// `https://…`, as it stands in the tokens.
    pub issuer: String,
    pub client_id: String,
    pub username_claim: String,
    /// None for Kubernetes' default, which depends on the claim.
    pub username_prefix: Option<String>,
    /// Empty when groups are not taken from tokens.
    pub groups_claim: String,
    pub groups_prefix: String,
    /// Claims that must have exactly these values.
    pub required: Vec<(String, String)>,
    pub algorithms: Vec<Algorithm>,
}

// === impl Provider ===

impl Provider {
    pub fn new(issuer: impl Into<String>, client_id: impl Into<String>) -> Provider {
        Provider {
            issuer: issuer.into(),
            client_id: client_id.into(),
            username_claim: "sub".into(),
            username_prefix: None,
            groups_claim: String::new(),
            groups_prefix: String::new(),
            required: Vec::new(),
            algorithms: vec![Algorithm::Rs256],
        }
    }

    /// Where the provider says where its keys are.
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'))
    }

    /// Whom a token stands for whose signature was found good.
    pub fn identify(&self, token: &Token<'_>, now: OffsetDateTime) -> Result<Caller, String> {
        let claims = &token.claims;
        if token.issuer() != self.issuer || !self.algorithms.contains(&token.algorithm) {
            return Err("oidc: verify token: another issuer or algorithm".into());
        }
        let meant = match claims.get("aud") {
            Some(Value::String(one)) => *one == self.client_id,
            Some(Value::Array(list)) => list.iter().any(|one| *one == *self.client_id),
            _ => false,
        };
        if !meant {
            return Err(format!("oidc: verify token: expected audience {:?}", self.client_id));
        }
        check_times(claims, now.unix_timestamp())?;
        for (claim, wanted) in &self.required {
            match claims.get(claim) {
                None => {
                    return Err(format!("oidc: required claim {claim} not present in ID token"));
                }
                Some(Value::String(got)) if got == wanted => {}
                Some(got) => {
                    return Err(format!(
                        "oidc: required claim {claim} value does not match. Got = {got}, want = {wanted}"
                    ));
                }
            }
        }
        Ok(Caller::user(self.user_name(claims)?, self.groups(claims)?))
    }

    fn user_name(&self, claims: &Value) -> Result<String, String> {
        let claim = &self.username_claim;
        let name = claims.get(claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name
            .ok_or_else(|| format!("oidc: parse username claims {claim:?}: claim not present"))?;
        // An address that nobody verified may be anybody's.
        if claim == "email" && claims.get("email_verified").is_some_and(|v| *v != true) {
            return Err("oidc: email not verified".into());
        }
        Ok(match (&self.username_prefix, claim.as_str()) {
            (Some(prefix), _) if prefix == "-" => name.to_owned(),
            (Some(prefix), _) => format!("{prefix}{name}"),
            (None, "email") => name.to_owned(),
            (None, _) => format!("{}#{name}", self.issuer),
        })
    }

    fn groups(&self, claims: &Value) -> Result<Vec<String>, String> {
        let claim = &self.groups_claim;
        let wrong = || format!("oidc: parse groups claim {claim:?}: expected a list of texts");
        let prefixed = |group: &str| format!("{}{group}", self.groups_prefix);
        match claims.get(claim).filter(|_| !claim.is_empty()) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![prefixed(one)]),
            Some(Value::Array(list)) => {
                list.iter().map(|group| group.as_str().map(prefixed).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        authn::{jwt, keys::SigningKey},
        object,
    };

    fn check(provider: &Provider, changes: Value) -> Result<Caller, String> {
        let now = object::now();
        let mut claims = json!({
            "iss": "https://idp", "aud": ["kube", "other"], "sub": "ann",
            "exp": now.unix_timestamp() + 60, "groups": ["dev", "ops"],
        });
        for (key, value) in changes.as_object().expect("an object") {
            claims[key] = value.clone();
        }
        let text = jwt::sign(&SigningKey::generate(), &claims).expect("signs");
        provider.identify(&Token::parse(&text).expect("well formed"), now)
    }

    fn provider() -> Provider {
        Provider { algorithms: vec![Algorithm::Es256], ..Provider::new("https://idp", "kube") }
    }

    #[test]
    fn claims_become_a_name_and_groups() {
        let caller = check(&provider(), json!({})).expect("known");
        assert_eq!(caller.name, "https://idp#ann");
        assert_eq!(caller.groups, ["system:authenticated"]);
        let provider = Provider {
            username_prefix: Some("-".into()),
            groups_claim: "groups".into(),
            groups_prefix: "oidc:".into(),
            required: vec![("hd".into(), "example.com".into())],
            ..provider()
        };
        let caller = check(&provider, json!({"hd": "example.com"})).expect("known");
        assert_eq!((&*caller.name, &*caller.groups[1]), ("ann", "oidc:ops"));
        assert!(check(&provider, json!({})).is_err(), "a required claim is not there");
        assert!(check(&provider, json!({"hd": "example.com", "groups": {"a": 1}})).is_err());
    }

    #[test]
    fn tokens_of_others_for_others_or_of_yesterday_are_refused() {
        for wrong in [
            json!({"iss": "https://idp/"}),
            json!({"aud": "other"}),
            json!({"aud": null}),
            json!({"exp": 1}),
            json!({"exp": null}),
            json!({"sub": ""}),
        ] {
            assert!(check(&provider(), wrong.clone()).is_err(), "{wrong}");
        }
        assert!(check(&Provider::new("https://idp", "kube"), json!({})).is_err(), "not RS256");
        let by_email = Provider { username_claim: "email".into(), ..provider() };
        assert!(check(&by_email, json!({"email": "a@b", "email_verified": false})).is_err());
        assert_eq!(check(&by_email, json!({"email": "a@b"})).expect("known").name, "a@b");
    }
}
