//! What every answer carries: the name of its request in the audit log, and that
//! nobody on the way keeps it.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use rt::random::Random;
use uuid::Builder;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Answers depend on who asks.
const PRIVATE: HeaderValue = HeaderValue::from_static("no-cache, private");

/// The caller's, so that one request has one name in the logs of all the servers
/// that it passes; bounded by the bound on a request's head.
#[derive(Clone, Debug)]
pub struct AuditId(HeaderValue);

thread_local! {
    /// Unlike any other's, and no secret: that needs no call into the system for
    /// each request.
    static RANDOM: RefCell<[Random; 2]> =
        RefCell::new([Random::from_entropy(), Random::from_entropy()]);
}

// === impl AuditId ===

impl AuditId {
    pub fn of(headers: &HeaderMap) -> AuditId {
        let given = headers.get(AUDIT_ID).filter(|id| !id.is_empty() && id.to_str().is_ok());
        AuditId(given.cloned().unwrap_or_else(new))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("it was looked at when it was made")
    }
}

fn new() -> HeaderValue {
    let bytes = RANDOM.with_borrow_mut(|random| {
        let halves = random.each_mut().map(|random| random.next_u64().to_be_bytes());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&halves[0]);
        bytes[8..].copy_from_slice(&halves[1]);
        bytes
    });
    let id = Builder::from_random_bytes(bytes).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("digits and hyphens")
}

pub fn mark<B>(response: &mut Response<B>, id: &AuditId) {
    let headers = response.headers_mut();
    headers.insert(AUDIT_ID, id.0.clone());
    headers.entry(header::CACHE_CONTROL).or_insert(PRIVATE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_the_name_it_came_with_or_gets_its_own() {
        let (one, two) = (AuditId::of(&HeaderMap::new()), AuditId::of(&HeaderMap::new()));
        assert_ne!(one.as_str(), two.as_str());
        let parsed: uuid::Uuid = one.as_str().parse().expect("a UUID");
        assert_eq!(parsed.get_version_num(), 4);
        let headers = HeaderMap::from_iter([(AUDIT_ID, HeaderValue::from_static("mine"))]);
        let mut response = Response::new(());
        mark(&mut response, &AuditId::of(&headers));
        assert_eq!(response.headers()[AUDIT_ID], "mine");
        assert_eq!(response.headers()[header::CACHE_CONTROL], PRIVATE);
    }
}
