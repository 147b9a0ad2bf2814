//! Bootstrap tokens (`abcdef.0123456789abcdef`): how a new node makes itself
//! known before it has a certificate. Each is a Secret of kube-system.

use aws_lc_rs::constant_time;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{caller::Caller, object};

pub const NAMESPACE: &str = "kube-system";

const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const ID_LEN: usize = 6;
const SECRET_LEN: usize = 16;

/// Longest name of an extra group, behind its prefix.
const GROUP_LEN_MAX: usize = 256;

#[derive(Debug, PartialEq, Eq)]
pub struct BootstrapToken<'a> {
    id: &'a str,
    secret: &'a str,
}

// === impl BootstrapToken ===

impl<'a> BootstrapToken<'a> {
    pub fn parse(text: &'a str) -> Option<BootstrapToken<'a>> {
        let (id, secret) = text.split_once('.')?;
        let plain = |part: &str, len: usize| {
            let inner = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
            part.len() == len && part.bytes().all(inner)
        };
        (plain(id, ID_LEN) && plain(secret, SECRET_LEN)).then_some(BootstrapToken { id, secret })
    }

    pub fn secret_name(&self) -> String {
        format!("bootstrap-token-{}", self.id)
    }

    /// Who shows the token, if `stored` (its Secret) says so.
    pub fn judge(&self, stored: &Value, now: OffsetDateTime) -> Option<Caller> {
        let data = |key: &str| {
            let bytes = BASE64.decode(object::text(stored, &format!("/data/{key}"))).ok()?;
            String::from_utf8(bytes).ok()
        };
        let secret = data("token-secret")?;
        let alike =
            constant_time::verify_slices_are_equal(secret.as_bytes(), self.secret.as_bytes());
        let ends = data("expiration").filter(|text| !text.is_empty());
        let alive =
            ends.is_none_or(|text| object::parse_timestamp(&text).is_some_and(|ends| ends > now));
        let accepted = alike.is_ok()
            && !object::is_deleting(stored)
            && object::text(stored, "/type") == SECRET_TYPE
            && data("token-id")? == self.id
            && alive
            && data("usage-bootstrap-authentication")? == "true";
        if !accepted {
            return None;
        }
        let extra = data("auth-extra-groups").unwrap_or_default();
        let extra: Vec<&str> = extra.split(',').map(str::trim).filter(|g| !g.is_empty()).collect();
        if !extra.iter().all(|group| is_extra_group(group)) {
            return None;
        }
        let groups = extra.into_iter().chain([GROUP]).map(str::to_owned);
        Some(Caller::user(format!("system:bootstrap:{}", self.id), groups))
    }
}

fn is_extra_group(group: &str) -> bool {
    let inner = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b':' | b'-')
    };
    group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')).is_some_and(|name| {
        let end = name.bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric());
        name.len() <= GROUP_LEN_MAX && end && name.bytes().all(inner)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(changes: &[(&str, &str)]) -> Value {
        let mut data = json!({});
        for (key, value) in [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
        ]
        .iter()
        .chain(changes)
        {
            data[*key] = BASE64.encode(value).into();
        }
        json!({"type": SECRET_TYPE, "data": data, "metadata": {"name": "bootstrap-token-abcdef"}})
    }

    fn groups(changes: &[(&str, &str)]) -> Option<Vec<String>> {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").expect("a token");
        token.judge(&secret(changes), object::now()).map(|caller| caller.groups)
    }

    #[test]
    fn a_secret_says_what_its_token_is_good_for() {
        let plain = ["system:bootstrappers", "system:authenticated"];
        assert_eq!(groups(&[]).expect("accepted"), plain);
        assert_eq!(groups(&[("expiration", "2999-01-01T00:00:00Z")]).expect("accepted"), plain);
        let extra = "system:bootstrappers:kubeadm:default-node-token";
        assert_eq!(groups(&[("auth-extra-groups", extra)]).expect("accepted")[0], extra);
        for wrong in [
            ("expiration", "2001-01-01T00:00:00Z"),
            ("expiration", "soon"),
            ("usage-bootstrap-authentication", "false"),
            ("token-secret", "0123456789abcdee"),
            ("token-id", "abcdee"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:"),
        ] {
            assert_eq!(groups(&[wrong]), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_token_has_one_form() {
        for wrong in
            ["", "abcdef", "abcdef.", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef0"]
        {
            assert_eq!(BootstrapToken::parse(wrong), None, "{wrong}");
        }
    }
}
