//! Headers at the border: what clients may say, what the mesh adds, and what
//! belongs to one connection only.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    key::Zone,
    refusal::{Refusal, quote},
};

/// The user whose shard the request is for.
pub const USER: HeaderName = HeaderName::from_static("polis-uid");
/// How long the client will wait, in milliseconds; passed on as what is left.
pub const DEADLINE: HeaderName = HeaderName::from_static("polis-deadline-ms");
/// The routing decision, and in a 421 the fence that refused it: both are
/// written as a [`topology::Stamp`].
pub const STAMP: HeaderName = HeaderName::from_static(topology::STAMP_HEADER);
pub const FENCE: HeaderName = HeaderName::from_static("polis-fence");
/// In a 421: the bucket that the body is of, where the cookie named another part of
/// its shard.
pub const BUCKET: HeaderName = HeaderName::from_static("polis-bucket");
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// LDC's cookie ([`crate::key::Zone`]). A hint that saves computing, never a right:
/// the ledger derives the bucket from the body again, so it is not signed.
pub const ZONE_COOKIE: &str = "zone_op";

const MESH_PREFIX: &str = "polis-";
/// Longest request id that is kept; longer ones are replaced.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Of one connection, not of the message (RFC 9110 section 7.6.1), plus the
/// ones that older clients still send.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Refuses every `polis-*` header but the two that clients may set.
pub(crate) fn refuse_forged(headers: &HeaderMap) -> Result<(), Refusal> {
    let forged = headers.keys().find(|name| {
        name.as_str().starts_with(MESH_PREFIX) && **name != USER && **name != DEADLINE
    });
    match forged {
        None => Ok(()),
        Some(name) => Err(Refusal::bad_request(
            errors::FORGED_HEADER,
            format!("header {} is set by the mesh and never by a client", quote(name.as_str())),
        )),
    }
}

/// Removes what must not cross to the next connection, including what
/// `Connection` names.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The client's request id if it is one, else the given fresh one.
pub(crate) fn keep_request_id(
    headers: &mut HeaderMap,
    fresh: impl FnOnce() -> u128,
) -> HeaderValue {
    let fits = |value: &HeaderValue| {
        (1..=REQUEST_ID_LEN_MAX).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    if let Some(known) = headers.get(&REQUEST_ID).filter(|value| fits(value)) {
        return known.clone();
    }
    let id = HeaderValue::from_str(&format!("{:032x}", fresh())).expect("hex digits are a value");
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// Gives the client the cookie.
pub(crate) fn set_zone_cookie(headers: &mut HeaderMap, zone: Zone) {
    let cookie = format!("{ZONE_COOKIE}={zone}; Path=/; HttpOnly; SameSite=Lax");
    let cookie = HeaderValue::from_str(&cookie).expect("a zone is digits");
    headers.append(header::SET_COOKIE, cookie);
}

/// The value of the zone cookie, if any was sent.
pub(crate) fn zone_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == ZONE_COOKIE)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn clients_may_set_the_user_and_the_deadline_and_no_other_mesh_header() {
        assert!(refuse_forged(&headers(&[("polis-uid", "1"), ("polis-deadline-ms", "5")])).is_ok());
        for forged in ["polis-shard", "polis-fence", "polis-epoch", "polis-anything"] {
            let refusal = refuse_forged(&headers(&[(forged, "x")])).expect_err(forged);
            assert_eq!(refusal.code, errors::FORGED_HEADER);
        }
    }

    #[test]
    fn headers_of_one_connection_stay_on_it() {
        let mut map = headers(&[
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn a_sound_request_id_is_kept_and_another_is_replaced() {
        let mut map = headers(&[("x-request-id", "abc-1")]);
        assert_eq!(keep_request_id(&mut map, || 7), "abc-1");
        for bad in ["", "a b"] {
            let mut map = HeaderMap::new();
            map.insert(REQUEST_ID, HeaderValue::from_str(bad).expect("value"));
            assert_eq!(keep_request_id(&mut map, || 7), "00000000000000000000000000000007");
        }
    }
}
