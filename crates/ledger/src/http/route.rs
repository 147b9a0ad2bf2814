//! Paths. Every path names its user or shard, except those whose body does.

use http::Method;
use topology::{Extent, Shard, UserId};

use super::answer::About;
use crate::{Error, PaymentId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Live,
    Ready,
    Metrics,
    OpenAccount,
    Account(UserId),
    Entries(UserId),
    Pay,
    PayBatch,
    Payment(PaymentId),
    Resolve(PaymentId),
    ShardPayments(Shard),
    ShardAudit(Shard),
    Fence,
    Drain,
    Fenced,
}

// === impl Route ===

impl Route {
    pub fn parse(method: &Method, path: &str) -> Result<Route, Error> {
        let mut parts = path.strip_prefix('/').ok_or(Error::NoPath)?.split('/');
        let mut next = || parts.next();
        let path = [next(), next(), next(), next()];
        if next().is_some() {
            return Err(Error::NoPath);
        }
        let (route, allow) = match path {
            [Some("livez"), None, ..] => (Route::Live, "GET"),
            [Some("readyz"), None, ..] => (Route::Ready, "GET"),
            [Some("metrics"), None, ..] => (Route::Metrics, "GET"),
            [Some("v1"), Some("accounts"), None, _] => (Route::OpenAccount, "POST"),
            [Some("v1"), Some("accounts"), Some(user), None] => (Route::Account(uid(user)?), "GET"),
            [Some("v1"), Some("accounts"), Some(user), Some("entries")] => {
                (Route::Entries(uid(user)?), "GET")
            }
            [Some("v1"), Some("payments"), None, _] => (Route::Pay, "POST"),
            [Some("v1"), Some("payments:batch"), None, _] => (Route::PayBatch, "POST"),
            [Some("v1"), Some("payments"), Some(id), None] => match id.strip_suffix(":resolve") {
                Some(id) => (Route::Resolve(id.parse()?), "POST"),
                None => (Route::Payment(id.parse()?), "GET"),
            },
            [Some("v1"), Some("shards"), Some(nn), Some("payments")] => {
                (Route::ShardPayments(shard(nn)?), "GET")
            }
            [Some("v1"), Some("shards"), Some(nn), Some("audit")] => {
                (Route::ShardAudit(shard(nn)?), "GET")
            }
            [Some("internal"), Some("v1"), Some("fence"), None] => (Route::Fence, "POST"),
            [Some("internal"), Some("v1"), Some("drain"), None] => (Route::Drain, "POST"),
            [Some("internal"), Some("v1"), Some("shards"), None] => (Route::Fenced, "GET"),
            _ => return Err(Error::NoPath),
        };
        if method.as_str() == allow { Ok(route) } else { Err(Error::Method { allow }) }
    }

    /// What the path itself names.
    pub fn about(&self) -> Option<About> {
        match self {
            Route::Account(user) | Route::Entries(user) => Some(About::bucket(user.bucket())),
            Route::Payment(id) | Route::Resolve(id) => Some(About::bucket(id.payer.bucket())),
            Route::ShardPayments(shard) | Route::ShardAudit(shard) => {
                Extent::of(*shard, None).map(About::extent)
            }
            _ => None,
        }
    }

    /// For metrics: few, whatever clients send.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Live | Route::Ready | Route::Metrics => "admin",
            Route::OpenAccount => "open_account",
            Route::Account(_) => "account",
            Route::Entries(_) => "entries",
            Route::Pay => "pay",
            Route::PayBatch => "pay_batch",
            Route::Payment(_) => "payment",
            Route::Resolve(_) => "resolve",
            Route::ShardPayments(_) => "shard_payments",
            Route::ShardAudit(_) => "shard_audit",
            Route::Fence => "fence",
            Route::Drain => "drain",
            Route::Fenced => "fenced",
        }
    }
}

fn uid(text: &str) -> Result<UserId, Error> {
    text.parse().map_err(Error::UserId)
}

fn shard(text: &str) -> Result<Shard, Error> {
    text.parse().map_err(Error::Shard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_routes() {
        let get = |path| Route::parse(&Method::GET, path);
        let post = |path| Route::parse(&Method::POST, path);
        let id: PaymentId = "2088001234.k".parse().expect("an id");
        assert_eq!(get("/v1/payments/2088001234.k").expect("a route"), Route::Payment(id.clone()));
        assert_eq!(post("/v1/payments/2088001234.k:resolve").expect("a route"), Route::Resolve(id));
        assert_eq!(post("/v1/payments").expect("a route"), Route::Pay);
        assert_eq!(post("/v1/payments:batch").expect("a route"), Route::PayBatch);
        let user = "2088001234".parse().expect("an id");
        assert_eq!(get("/v1/accounts/2088001234/entries").expect("a route"), Route::Entries(user));
        assert!(matches!(get("/v1/shards/42/audit"), Ok(Route::ShardAudit(_))));
    }

    #[test]
    fn other_paths_and_methods_are_told_apart() {
        let get = |path| Route::parse(&Method::GET, path);
        for nowhere in ["/", "", "/v1", "/v2/payments", "/v1/payments/1.2/3/4", "/v1/shards/42"] {
            assert!(matches!(get(nowhere), Err(Error::NoPath)), "{nowhere}");
        }
        assert!(matches!(get("/v1/payments"), Err(Error::Method { allow: "POST" })));
        assert!(matches!(get("/v1/payments/nonsense"), Err(Error::PaymentId)));
        assert!(matches!(get("/v1/shards/1024/audit"), Err(Error::Shard(_))));
    }
}
