//! Speaking for somebody else (`kubectl --as`): who is wished for, and what it
//! takes.

use std::borrow::Cow;

use http::HeaderMap;

use super::service_account;
use crate::{
    authz::{ACCOUNT_PREFIX, Attributes},
    caller::{ANONYMOUS, AUTHENTICATED, Caller, Extra, UNAUTHENTICATED},
    failure::Failure,
    names,
    request::query,
};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// Groups and values of one wish; each is asked for on its own.
const PARTS_MAX: usize = 256;

#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: Extra,
}

// === impl Wish ===

impl Wish {
    /// None when the caller speaks for itself.
    pub fn of(headers: &HeaderMap) -> Result<Option<Wish>, Failure> {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let first = |name| headers.get(name).map(text).unwrap_or_default();
        let (user, uid) = (first(USER), first(UID));
        let groups: Vec<String> = headers.get_all(GROUP).iter().map(text).collect();
        let mut extra = Extra::new();
        for (name, value) in headers {
            let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else { continue };
            let key = query::decode(key, false).unwrap_or_else(|| key.to_owned());
            extra.entry(key.to_lowercase()).or_default().push(text(value));
        }
        let others = !groups.is_empty() || !uid.is_empty() || !extra.is_empty();
        if user.is_empty() {
            return match others {
                true => Err(Failure::bad_request(
                    "requested groups, uid or extra without impersonating a user",
                )),
                false => Ok(None),
            };
        }
        let parts = groups.len() + extra.values().map(Vec::len).sum::<usize>();
        if parts > PARTS_MAX {
            return Err(Failure::bad_request(format!(
                "impersonation of more than {PARTS_MAX} groups and values"
            )));
        }
        Ok(Some(Wish { user, groups, uid, extra }))
    }

    /// Each must be allowed to whoever wishes.
    pub fn questions(&self) -> Vec<Attributes<'_>> {
        let ask = |group, resource: Cow<'static, str>, namespace, name| {
            Attributes::of_resource("impersonate", group, resource, namespace, name)
        };
        let mut questions = vec![match account(&self.user) {
            Some((namespace, name)) => ask("", "serviceaccounts".into(), namespace, name),
            None => ask("", "users".into(), "", &self.user),
        }];
        questions.extend(self.groups.iter().map(|group| ask("", "groups".into(), "", group)));
        for (key, values) in &self.extra {
            let resource = || Cow::Owned(format!("userextras/{key}"));
            let asked = |value| ask("authentication.k8s.io", resource(), "", value);
            questions.extend(values.iter().map(|value| asked(value.as_str())));
        }
        if !self.uid.is_empty() {
            questions.push(ask("authentication.k8s.io", "uids".into(), "", &self.uid));
        }
        questions
    }

    /// Who then asks.
    pub fn caller(self) -> Caller {
        let mut groups = self.groups;
        if groups.is_empty()
            && let Some((namespace, _)) = account(&self.user)
        {
            groups = service_account::groups(namespace).to_vec();
        }
        let has = |groups: &[String], wanted: &[&str]| {
            groups.iter().any(|group| wanted.contains(&group.as_str()))
        };
        if self.user == ANONYMOUS {
            if !has(&groups, &[UNAUTHENTICATED]) {
                groups.push(UNAUTHENTICATED.into());
            }
        } else if !has(&groups, &[AUTHENTICATED, UNAUTHENTICATED]) {
            groups.push(AUTHENTICATED.into());
        }
        Caller::exactly(self.user, groups).with_uid(self.uid).with_extra(self.extra)
    }
}

/// Namespace and name, when the user is a service account.
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
    let named = names::label(namespace).is_none() && names::subdomain(name).is_none();
    named.then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn wish(headers: &[(&'static str, &str)]) -> Result<Option<Wish>, Failure> {
        let pairs = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        });
        Wish::of(&HeaderMap::from_iter(pairs))
    }

    #[test]
    fn a_wish_is_asked_for_part_by_part() {
        let wish = wish(&[
            (USER, "ann"),
            (GROUP, "dev"),
            (GROUP, "ops"),
            (UID, "7"),
            ("impersonate-extra-example.org%2fscopes", "view"),
        ]);
        let wish = wish.expect("well formed").expect("a wish");
        let caller = Caller::user("bob", []);
        let asked: Vec<String> =
            wish.questions().iter().map(|what| what.refusal(&caller)).collect();
        assert_eq!(asked.len(), 5);
        assert_eq!(
            asked[0],
            "users \"ann\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API \
             group \"\" at the cluster scope"
        );
        assert!(asked[3].contains("\"userextras/example.org/scopes\""), "{}", asked[3]);
        let ann = wish.caller();
        assert_eq!((&*ann.name, &*ann.uid), ("ann", "7"));
        assert_eq!(ann.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(ann.extra["example.org/scopes"], ["view"]);
    }

    #[test]
    fn accounts_have_their_groups_and_the_anonymous_theirs() {
        let of = |user: &str| wish(&[(USER, user)]).expect("well formed").expect("a wish");
        let account = of("system:serviceaccount:shop:till");
        assert_eq!(account.questions()[0].resource, "serviceaccounts");
        assert_eq!(account.questions()[0].namespace, "shop");
        assert_eq!(account.caller().groups[1], "system:serviceaccounts:shop");
        assert_eq!(of("system:serviceaccount:A:b").questions()[0].resource, "users");
        assert_eq!(of(ANONYMOUS).caller().groups, [UNAUTHENTICATED]);
        let polis = wish(&[(USER, "x"), (GROUP, "system:polis")]).expect("well formed");
        assert_eq!(polis.expect("a wish").caller().groups, [AUTHENTICATED]);
    }

    #[test]
    fn groups_without_a_user_are_refused() {
        assert_eq!(wish(&[]).expect("well formed"), None);
        for header in [GROUP, UID, "impersonate-extra-a"] {
            assert!(wish(&[(header, "x")]).is_err(), "{header}");
        }
    }
}
