//! The key of a request: where it belongs, and whether it may be replayed.
//! Pure: method, path and headers in, key or refusal out.
//!
//! Order of belief: the user or shard in the path, then header `polis-uid`,
//! then cookie `zone_op`. Path and header must agree. The body is not read:
//! the ledger derives the bucket from it again and refuses a mismatch.
//!
//! A key names a bucket where it can, and never the shard that a bucket is of: that
//! changes with splits, and a request that waits through one goes on by the new map.

use std::fmt;

use http::{HeaderMap, Method};
use topology::{Bucket, Layout, Shard, UserId};

use crate::{
    headers,
    refusal::{Refusal, quote},
};

/// What routing needs to know about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub aim: Aim,
    /// Sending it twice has the effect of sending it once, by contract.
    pub replayable: bool,
    /// It changes nothing, so a lost answer leaves nothing unknown.
    pub read: bool,
    /// What the cookie said, as far as it could be read.
    pub sent: Option<Zone>,
    /// The user's bucket, if the request names the user.
    pub user: Option<Bucket>,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// With this bucket, whoever has it.
    Bucket(Bucket),
    /// The shard itself is asked for, or a cookie knows no more.
    Shard(Shard),
}

/// The value of the cookie `zone_op`: LDC's two digits, and the four of the bucket
/// where those do not tell the parts of a split shard apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Hundred(Shard),
    Bucket(Bucket),
}

/// The paths that are open to clients.
enum Place {
    Accounts,
    Account(UserId),
    Payments,
    /// Many payments, of any users of one shard.
    PaymentBatch,
    Payment(UserId),
    Resolve(UserId),
    Shard(Shard),
}

/// Reads the key, or says why there is none.
pub fn extract(method: &Method, path: &str, headers: &HeaderMap) -> Result<Key, Refusal> {
    headers::refuse_forged(headers)?;
    let place = place(path)?;
    let read = check_method(&place, method)?;
    let in_header = user_in_header(headers)?;
    let cookie = headers::zone_cookie(headers);
    let sent = cookie.and_then(Zone::parse);

    let in_path = match &place {
        Place::Account(user) | Place::Payment(user) | Place::Resolve(user) => {
            if in_header.as_ref().is_some_and(|header| header != user) {
                return Err(disagree(format!(
                    "the path names user {user}, the header polis-uid another"
                )));
            }
            Some(Aim::Bucket(user.bucket()))
        }
        Place::Shard(shard) => {
            // Which users a part has is not known here; the ledger looks at no user.
            let hundred = shard.hundred().map(|_| *shard);
            let user = in_header.as_ref().map(|user| user.bucket().shard());
            if user.is_some_and(|user| hundred.is_some_and(|hundred| hundred != user)) {
                return Err(disagree(format!(
                    "the user in polis-uid is not of shard {shard} in the path"
                )));
            }
            Some(Aim::Shard(*shard))
        }
        Place::Accounts | Place::Payments | Place::PaymentBatch => None,
    };
    let user = match (&place, in_path) {
        (Place::Shard(_), _) => None,
        (_, Some(Aim::Bucket(bucket))) => Some(bucket),
        _ => in_header.as_ref().map(UserId::bucket),
    };
    let aim = in_path.or(user.map(Aim::Bucket)).or(sent.map(Zone::aim));
    let aim = aim.ok_or_else(|| no_key(cookie))?;

    // Opening an account again with the same body is answered like the first time,
    // and each payment of a batch has a key of its own.
    let idempotent = matches!(place, Place::Accounts | Place::PaymentBatch | Place::Resolve(_));
    let replayable = read || idempotent || headers.contains_key(headers::IDEMPOTENCY_KEY);
    Ok(Key { aim, replayable, read, sent, user })
}

fn place(path: &str) -> Result<Place, Refusal> {
    let unknown = || {
        let message = format!("{} is not a path of this service", quote(path));
        Refusal::new(http::StatusCode::NOT_FOUND, errors::UNKNOWN_PATH, message)
    };
    // What is not written plainly could mean something else to the next hop.
    let plain =
        |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['%', '\\', '\0']);
    let mut segments = path.strip_prefix("/v1/").ok_or_else(unknown)?.split('/');
    if !segments.clone().all(plain) {
        return Err(unknown());
    }
    match (segments.next(), segments.next(), segments.next()) {
        (Some("accounts"), None, _) => Ok(Place::Accounts),
        (Some("accounts"), Some(user), _) => Ok(Place::Account(parse_user(user)?)),
        (Some("payments"), None, _) => Ok(Place::Payments),
        (Some("payments:batch"), None, _) => Ok(Place::PaymentBatch),
        (Some("payments"), Some(id), None) => payment(id),
        (Some("shards"), Some(shard), Some(_)) => {
            shard_in_path(shard).map(Place::Shard).ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}

fn payment(id: &str) -> Result<Place, Refusal> {
    let (name, resolve) = match id.split_once(':') {
        None => (id, false),
        Some((name, "resolve")) => (name, true),
        Some(_) => return Err(bad_payment_id(id)),
    };
    let (user, key) = name.split_once('.').ok_or_else(|| bad_payment_id(id))?;
    if key.is_empty() {
        return Err(bad_payment_id(id));
    }
    let user = parse_user(user)?;
    Ok(if resolve { Place::Resolve(user) } else { Place::Payment(user) })
}

/// Whether the method only reads; refuses what the place does not know.
fn check_method(place: &Place, method: &Method) -> Result<bool, Refusal> {
    let writes = match place {
        Place::Accounts | Place::Payments | Place::PaymentBatch | Place::Resolve(_) => true,
        Place::Account(_) | Place::Payment(_) | Place::Shard(_) => false,
    };
    let read = *method == Method::GET || *method == Method::HEAD;
    match (writes, read) {
        (false, true) => Ok(true),
        (true, false) if *method == Method::POST => Ok(false),
        _ => {
            let allow = if writes { "POST" } else { "GET, HEAD" };
            let message = format!("{method} is not among the methods of this path: {allow}");
            let status = http::StatusCode::METHOD_NOT_ALLOWED;
            Err(Refusal {
                allow: Some(allow),
                ..Refusal::new(status, errors::METHOD_NOT_ALLOWED, message)
            })
        }
    }
}

fn user_in_header(headers: &HeaderMap) -> Result<Option<UserId>, Refusal> {
    let mut values = headers.get_all(&headers::USER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            parse_user(text.trim()).map(Some)
        }
        (Some(_), Some(_)) => Err(disagree("the header polis-uid was sent twice".into())),
    }
}

fn parse_user(text: &str) -> Result<UserId, Refusal> {
    text.parse().map_err(|_| {
        let message = format!("user id {} is not 3 to 32 digits", quote(text));
        Refusal::bad_request(errors::BAD_USER_ID, message)
    })
}

/// As it is written and no other way: one digit could be a cut-off two.
fn shard_in_path(text: &str) -> Option<Shard> {
    (text.len() >= 2).then(|| text.parse().ok()).flatten()
}

fn disagree(message: String) -> Refusal {
    Refusal::bad_request(errors::KEYS_DISAGREE, message)
}

fn bad_payment_id(id: &str) -> Refusal {
    let message = format!("payment id {} is not of the form UID.KEY", quote(id));
    Refusal::bad_request(errors::BAD_PAYMENT_ID, message)
}

fn no_key(cookie: Option<&str>) -> Refusal {
    let message = match cookie {
        None => "no user id in the path, no header polis-uid, no cookie zone_op".to_owned(),
        Some(value) => {
            format!("cookie zone_op is {}, not two digits or a bucket's four", quote(value))
        }
    };
    Refusal::bad_request(errors::NO_ROUTE_KEY, message)
}

// === impl Key ===

impl Key {
    /// The cookie that the client should be given: it named its user, and the
    /// cookie it sent says something else.
    #[must_use]
    pub fn cookie(&self, layout: &Layout) -> Option<Zone> {
        let zone = Zone::of(self.user?, layout);
        (self.sent != Some(zone)).then_some(zone)
    }
}

// === impl Zone ===

impl Zone {
    #[must_use]
    pub fn of(bucket: Bucket, layout: &Layout) -> Zone {
        let hundred = bucket.shard();
        if layout.is_split(hundred) { Zone::Bucket(bucket) } else { Zone::Hundred(hundred) }
    }

    pub(crate) fn parse(text: &str) -> Option<Zone> {
        match text.len() {
            2 => text.parse().ok().map(Zone::Hundred),
            _ => text.parse().ok().map(Zone::Bucket),
        }
    }

    pub(crate) fn aim(self) -> Aim {
        match self {
            Zone::Hundred(shard) => Aim::Shard(shard),
            Zone::Bucket(bucket) => Aim::Bucket(bucket),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Zone::Hundred(shard) => shard.fmt(f),
            Zone::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use errors::Code;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn run(request: &str) -> Result<Key, Refusal> {
        let mut parts = request.split_whitespace();
        let method: Method = parts.next().and_then(|m| m.parse().ok()).expect("a method");
        let path = parts.next().expect("a path");
        let mut headers = HeaderMap::new();
        for header in parts {
            let (name, value) = header.split_once('=').expect("name=value");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        extract(&method, path, &headers)
    }

    /// `23 replay read cookie`, or the code of the refusal.
    fn check(request: &str, expected: &str) {
        let seen = match run(request) {
            Ok(key) => {
                let flag =
                    |set: bool, name: &str| if set { format!(" {name}") } else { String::new() };
                let layout = Layout::default();
                let shard = match key.aim {
                    Aim::Bucket(bucket) => layout.shard_of(bucket),
                    Aim::Shard(shard) => shard,
                };
                let wants_cookie = key.cookie(&layout).is_some();
                let Key { replayable, read, .. } = key;
                let flags = [(replayable, "replay"), (read, "read"), (wants_cookie, "cookie")];
                flags.iter().fold(shard.to_string(), |text, (set, name)| text + &flag(*set, name))
            }
            Err(refusal) => refusal.code.to_string(),
        };
        assert_eq!(seen, expected, "{request}");
    }

    fn refused(request: &str, code: Code) {
        check(request, &code.to_string());
    }

    #[test]
    fn the_key_comes_from_path_then_header_then_cookie() {
        check("GET /v1/accounts/2088001234", "23 replay read cookie");
        check("GET /v1/accounts/2088001234/entries", "23 replay read cookie");
        check("GET /v1/accounts/2088001234 cookie=zone_op=23", "23 replay read");
        check("GET /v1/accounts/2088001234 cookie=zone_op=99", "23 replay read cookie");
        check("HEAD /v1/payments/2088001234.k-1", "23 replay read cookie");
        check("POST /v1/payments/2088001234.k-1:resolve", "23 replay cookie");
        check("POST /v1/payments polis-uid=2088001234", "23 cookie");
        check("POST /v1/payments polis-uid=2088001234 idempotency-key=k", "23 replay cookie");
        check("POST /v1/payments cookie=a=b;zone_op=07;c=d", "07");
        check("POST /v1/payments cookie=zone_op=4260", "42");
        check("GET /v1/shards/100/audit", "100 replay read");
        check("POST /v1/payments:batch polis-uid=2088001234", "23 replay cookie");
        check("POST /v1/payments:batch cookie=zone_op=07", "07 replay");
        check("POST /v1/payments polis-uid=2088001234 cookie=zone_op=07", "23 cookie");
        check("POST /v1/accounts polis-uid=100", "10 replay cookie");
        check("GET /v1/shards/42/payments", "42 replay read");
        check("GET /v1/shards/23/audit polis-uid=2088001234", "23 replay read");
    }

    #[test]
    fn what_has_no_key_or_two_is_refused_with_a_code() {
        refused("POST /v1/payments", errors::NO_ROUTE_KEY);
        refused("POST /v1/payments:batch", errors::NO_ROUTE_KEY);
        refused("POST /v1/payments cookie=zone_op=7", errors::NO_ROUTE_KEY);
        refused("POST /v1/payments cookie=zone_op=100", errors::NO_ROUTE_KEY);
        refused("POST /v1/payments cookie=zone_op=42600", errors::NO_ROUTE_KEY);
        refused("POST /v1/payments polis-uid=12", errors::BAD_USER_ID);
        refused("POST /v1/payments polis-uid=20880x1234", errors::BAD_USER_ID);
        refused("GET /v1/accounts/abc", errors::BAD_USER_ID);
        refused("GET /v1/accounts/2088001234 polis-uid=2088009999", errors::KEYS_DISAGREE);
        refused("GET /v1/shards/42/audit polis-uid=2088001234", errors::KEYS_DISAGREE);
        refused("POST /v1/payments polis-uid=100 polis-uid=100", errors::KEYS_DISAGREE);
        refused("GET /v1/payments/2088001234", errors::BAD_PAYMENT_ID);
        refused("GET /v1/payments/2088001234.", errors::BAD_PAYMENT_ID);
        refused("POST /v1/payments/2088001234.k:cancel", errors::BAD_PAYMENT_ID);
    }

    #[test]
    fn paths_and_methods_that_are_not_ours_are_refused() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v2/accounts/100",
            "/internal/v1/fence",
            "/v1/accounts/100/../../../internal/v1/fence",
            "/v1/accounts/100//entries",
            "/v1/accounts/100/%2e%2e",
            "/v1/accounts/",
            "/v1/shards/42",
            "/v1/shards/4/audit",
            "/v1/shards/042/audit",
            "/v1/shards/1024/audit",
            "/v1/payments/100.k/more",
            "/v1/payments:all",
            "/v1/payments:batch/100",
            "*",
        ] {
            refused(&format!("GET {path} polis-uid=100"), errors::UNKNOWN_PATH);
        }
        refused("DELETE /v1/accounts/100", errors::METHOD_NOT_ALLOWED);
        refused("GET /v1/payments polis-uid=100", errors::METHOD_NOT_ALLOWED);
        refused("GET /v1/payments:batch polis-uid=100", errors::METHOD_NOT_ALLOWED);
        refused("GET /v1/payments/100.k:resolve", errors::METHOD_NOT_ALLOWED);
        refused("CONNECT /v1/payments polis-uid=100", errors::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_cookie_says_no_more_than_is_needed_to_find_the_shard() {
        let user: UserId = "2088001234".parse().expect("digits");
        let bucket = user.bucket();
        let mut layout = Layout::default();
        let check = |request: &str, layout: &Layout, expected: Option<String>| {
            let zone = run(request).expect("a key").cookie(layout);
            assert_eq!(zone.map(|zone| zone.to_string()), expected, "{request}");
        };
        let bare = "GET /v1/accounts/2088001234";
        let (two, four) =
            (format!("{bare} cookie=zone_op=23"), format!("{bare} cookie=zone_op={bucket}"));
        check(bare, &layout, Some("23".into()));
        check(&two, &layout, None);
        check(&four, &layout, Some("23".into()));
        layout.split("2300-2309".parse().expect("buckets")).expect("a split");
        check(bare, &layout, Some(bucket.to_string()));
        check(&two, &layout, Some(bucket.to_string()));
        check(&four, &layout, None);
        check("POST /v1/payments cookie=zone_op=23", &layout, None);
    }

    proptest! {
        /// Whatever the path, header and cookie say, a key is of the user in
        /// the path, or of nobody.
        #[test]
        fn a_path_with_a_user_is_never_routed_as_another(
            path_user in "[0-9]{3,32}",
            header in proptest::option::of("[0-9]{3,32}"),
            cookie in "[0-9]{0,5}",
        ) {
            let mut headers = HeaderMap::new();
            if let Some(user) = &header {
                headers.insert(headers::USER, HeaderValue::from_str(user).expect("digits"));
            }
            let cookie = HeaderValue::from_str(&format!("zone_op={cookie}")).expect("digits");
            headers.insert(http::header::COOKIE, cookie);
            let user: UserId = path_user.parse().expect("digits");
            match extract(&Method::GET, &format!("/v1/accounts/{user}"), &headers) {
                Ok(key) => prop_assert_eq!(key.aim, Aim::Bucket(user.bucket())),
                Err(refusal) => {
                    prop_assert!(header.is_some_and(|header| header != path_user));
                    prop_assert_eq!(refusal.code, errors::KEYS_DISAGREE);
                }
            }
        }

        /// Any text as a path gives a key or a refusal, never a panic.
        #[test]
        fn any_path_is_answered(path in "(/v1/(accounts|payments|shards))?[ -~]{0,40}") {
            if let Err(refusal) = extract(&Method::POST, &path, &HeaderMap::new()) {
                prop_assert!(refusal.status.is_client_error());
            }
        }
    }
}
