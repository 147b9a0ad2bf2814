//! Which endpoint is asked. Pure, given what is seen of them.

use std::hash::Hasher as _;

use tokio::time::Instant;

use super::{Local, LocalEndpoint};
use crate::config::model::{Balance, Spill};

/// Pairs drawn before all are looked at one by one.
const DRAWS: usize = 2;

/// The one to ask: of those that are available in the nearest place that has
/// any. If none is available anywhere, the unavailable are better than nobody.
/// `tried` is passed over if there is another.
pub(super) fn pick(
    cluster: &Local,
    key: Option<&str>,
    tried: Option<&LocalEndpoint>,
    now: Instant,
) -> Option<usize> {
    let endpoints = &cluster.endpoints;
    if endpoints.len() == 1 {
        return Some(0);
    }
    let farthest = match cluster.shared.spill {
        Spill::Everywhere => u8::MAX,
        Spill::City => 1,
        Spill::Never => 0,
    };
    let fits = |endpoint: &LocalEndpoint| {
        endpoint.shared.is_available(now)
            && tried.is_none_or(|t| t.shared.address != endpoint.shared.address)
    };
    let nearest = endpoints
        .iter()
        .filter(|endpoint| endpoint.shared.distance <= farthest && fits(endpoint))
        .map(|endpoint| endpoint.shared.distance)
        .min();
    let good = |endpoint: &LocalEndpoint| match nearest {
        Some(nearest) => endpoint.shared.distance == nearest && fits(endpoint),
        None => endpoint.shared.distance <= farthest,
    };
    let count = endpoints.iter().filter(|endpoint| good(endpoint)).count();
    let nth =
        |n: usize| endpoints.iter().enumerate().filter(|(_, e)| good(e)).nth(n).map(|(at, _)| at);
    if count == 0 {
        return None;
    }
    match (cluster.shared.balance, key) {
        (Balance::Hash, Some(key)) => endpoints
            .iter()
            .enumerate()
            .filter(|(_, endpoint)| good(endpoint))
            .max_by_key(|(_, endpoint)| weight(key, endpoint))
            .map(|(at, _)| at),
        (Balance::RoundRobin, _) => nth(cluster.next_turn() % count),
        (Balance::Random, _) | (Balance::Hash, None) => nth(cluster.draw(count)),
        (Balance::LeastRequest, _) => (0..DRAWS)
            .filter_map(|_| nth(cluster.draw(count)))
            .min_by(|a, b| endpoints[*a].cost(now).total_cmp(&endpoints[*b].cost(now))),
    }
}

/// Rendezvous hashing: who goes takes only its own keys along.
fn weight(key: &str, endpoint: &LocalEndpoint) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.write(endpoint.shared.address.to_string().as_bytes());
    hasher.finish()
}
