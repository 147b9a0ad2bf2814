//! Which endpoint is asked. Pure, given what is seen of them.

use std::hash::Hasher as _;

use tokio::time::Instant;

use super::{Local, LocalEndpoint};
use crate::config::model::{Balance, Spill};

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
    let farthest = match cluster.shared.spill {
        Spill::Everywhere => u8::MAX,
        Spill::City => 1,
        Spill::Never => 0,
    };
    if let [only] = &endpoints[..] {
        return (only.shared.distance <= farthest).then_some(0);
    }
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
        (Balance::LeastRequest, _) => {
            let first = cluster.draw(count);
            let other = (count > 1).then(|| (first + 1 + cluster.draw(count - 1)) % count);
            let drawn = [Some(first), other].into_iter().flatten().filter_map(nth);
            drawn.min_by(|a, b| endpoints[*a].cost(now).total_cmp(&endpoints[*b].cost(now)))
        }
    }
}

/// Rendezvous hashing: who goes takes only its own keys along.
fn weight(key: &str, endpoint: &LocalEndpoint) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.write(endpoint.shared.address.to_string().as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use rt::random::Random;

    use super::*;
    use crate::{config::model::Place, upstream::Cluster};

    /// Endpoints `10.0.0.N`, one for each place.
    fn local(rest: &str, places: &[&str]) -> Local {
        let endpoints = places.iter().enumerate().map(|(at, place)| {
            let (city, center) = place.split_once('/').expect("CITY/CENTER");
            format!("{{ address = '10.0.0.{at}:80', city = '{city}', center = '{center}' }}")
        });
        let endpoints = endpoints.collect::<Vec<_>>().join(",");
        let model = toml::from_str(&format!("name = 'c'\nendpoints = [{endpoints}]\n{rest}"));
        let place = Place { city: "east".into(), center: "east-1".into() };
        let cluster = Cluster::new(&model.expect("a cluster"), None, None, &place, None);
        Local::new(Arc::new(cluster), None, Random::seeded(7))
    }

    fn picks(local: &Local, key: Option<&str>) -> BTreeMap<usize, u32> {
        let mut seen = BTreeMap::new();
        for _ in 0..300 {
            let picked = pick(local, key, None, Instant::now());
            picked.into_iter().for_each(|at| *seen.entry(at).or_default() += 1);
        }
        seen
    }

    const PLACES: [&str; 4] = ["east/east-1", "east/east-2", "west/west-1", "east/east-1"];

    fn fail(local: &Local, at: usize) {
        let state = &local.endpoints[at].shared.state;
        state.unhealthy.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    #[test]
    fn the_nearest_place_that_has_anybody_is_asked() {
        let check = |spill: &str, failed: &[usize], expected: &[usize]| {
            let local = local(&format!("spill = '{spill}'\nbalance = 'round-robin'"), &PLACES);
            failed.iter().for_each(|at| fail(&local, *at));
            let seen: Vec<usize> = picks(&local, None).into_keys().collect();
            assert_eq!(seen, expected, "{spill} without {failed:?}");
        };
        check("everywhere", &[], &[0, 3]);
        check("everywhere", &[0], &[3]);
        check("everywhere", &[0, 3], &[1]);
        check("everywhere", &[0, 1, 3], &[2]);
        check("city", &[0, 1, 3], &[0, 1, 3]);
        check("never", &[0, 3], &[0, 3]);
        check("everywhere", &[0, 1, 2, 3], &[0, 1, 2, 3]);
    }

    #[test]
    fn turns_are_fair_and_the_busy_are_spared() {
        let turns = local("balance = 'round-robin'", &["a/a", "a/a", "a/a"]);
        assert_eq!(picks(&turns, None).into_values().collect::<Vec<_>>(), [100, 100, 100]);
        let least = local("", &["a/a", "a/a"]);
        let _busy: Vec<_> = (0..9).map(|_| least.endpoints[0].begin(Instant::now())).collect();
        assert_eq!(picks(&least, None), BTreeMap::from([(1, 300)]));
    }

    #[test]
    fn a_key_stays_where_it_is_unless_its_endpoint_goes() {
        let local = local("balance = 'hash'", &["a/a"; 5]);
        let home = |key: &str| pick(&local, Some(key), None, Instant::now()).expect("somebody");
        let keys: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        let before: Vec<usize> = keys.iter().map(|key| home(key)).collect();
        assert!((0..5).all(|at| before.contains(&at)));
        fail(&local, 2);
        for (key, before) in keys.iter().zip(before) {
            assert!(before == 2 || home(key) == before, "{key} has moved for nothing");
        }
    }
}
