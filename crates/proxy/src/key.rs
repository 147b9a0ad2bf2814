//! The key of a request: which shard it is for, and whether it may be replayed.
//! Pure: method, path and headers in, key or refusal out.
//!
//! Order of belief: the user or shard in the path, then header `polis-uid`,
//! then cookie `zone_op`. Path and header must agree. The body is not read:
//! the ledger derives the shard from it again and refuses a mismatch.

use http::{HeaderMap, Method};
use topology::{Shard, UserId};

use crate::{
    headers,
    refusal::{Refusal, quote},
};

/// What routing needs to know about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub shard: Shard,
    /// Sending it twice has the effect of sending it once, by contract.
    pub replayable: bool,
    /// It changes nothing, so a lost answer leaves nothing unknown.
    pub read: bool,
    /// Whether the client should be given the cookie: its shard was computed
    /// from a user id and the cookie it sent says otherwise.
    pub wants_cookie: bool,
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
    let cookie_shard = cookie.and_then(two_digit_shard);

    let in_path = match &place {
        Place::Account(user) | Place::Payment(user) | Place::Resolve(user) => {
            if in_header.as_ref().is_some_and(|header| header != user) {
                return Err(disagree(format!(
                    "the path names user {user}, the header polis-uid another"
                )));
            }
            Some(user.bucket().shard())
        }
        Place::Shard(shard) => {
            if in_header.as_ref().is_some_and(|user| user.bucket().shard() != *shard) {
                return Err(disagree(format!(
                    "the user in polis-uid is not of shard {shard} in the path"
                )));
            }
            Some(*shard)
        }
        Place::Accounts | Place::Payments | Place::PaymentBatch => None,
    };
    let of_user = match &place {
        Place::Shard(_) => None,
        _ => in_path.or_else(|| in_header.as_ref().map(|user| user.bucket().shard())),
    };
    let shard = in_path.or(of_user).or(cookie_shard).ok_or_else(|| no_key(cookie))?;

    // Opening an account again with the same body is answered like the first time,
    // and each payment of a batch has a key of its own.
    let idempotent = matches!(place, Place::Accounts | Place::PaymentBatch | Place::Resolve(_));
    let replayable = read || idempotent || headers.contains_key(headers::IDEMPOTENCY_KEY);
    let wants_cookie = of_user.is_some() && cookie_shard != of_user;
    Ok(Key { shard, replayable, read, wants_cookie })
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
            two_digit_shard(shard).map(Place::Shard).ok_or_else(unknown)
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

/// Exactly two digits: one digit could be a cut-off two.
fn two_digit_shard(text: &str) -> Option<Shard> {
    (text.len() == 2).then(|| text.parse().ok()).flatten()
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
        Some(value) => format!("cookie zone_op is {}, not a shard from 00 to 99", quote(value)),
    };
    Refusal::bad_request(errors::NO_ROUTE_KEY, message)
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
                let Key { shard, replayable, read, wants_cookie } = key;
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
            "/v1/shards/420/audit",
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

    proptest! {
        /// Whatever the path, header and cookie say, a key is of the user in
        /// the path, or of nobody.
        #[test]
        fn a_path_with_a_user_is_never_routed_as_another(
            path_user in "[0-9]{3,32}",
            header in proptest::option::of("[0-9]{3,32}"),
            cookie in "[0-9]{0,3}",
        ) {
            let mut headers = HeaderMap::new();
            if let Some(user) = &header {
                headers.insert(headers::USER, HeaderValue::from_str(user).expect("digits"));
            }
            let cookie = HeaderValue::from_str(&format!("zone_op={cookie}")).expect("digits");
            headers.insert(http::header::COOKIE, cookie);
            let user: UserId = path_user.parse().expect("digits");
            match extract(&Method::GET, &format!("/v1/accounts/{user}"), &headers) {
                Ok(key) => prop_assert_eq!(key.shard, user.bucket().shard()),
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
