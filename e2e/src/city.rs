//! Cities that are lost with their nodes of a database, and what is said of it.

use serde_json::Value;

use crate::Estate;

/// In the order of a database's nodes; the first two are one city.
pub const CENTERS: [&str; 5] = ["east-1", "east-2", "south-1", "south-2", "west-1"];

/// How often a city is lost where `variable` does not say it.
#[must_use]
pub fn drills(variable: &str) -> usize {
    std::env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// The places of a city's nodes.
#[must_use]
pub fn nodes_of(city: &str) -> Vec<usize> {
    (0..CENTERS.len()).filter(|at| city_of(*at) == city).collect()
}

#[must_use]
pub fn city_of(at: usize) -> &'static str {
    CENTERS[at].split_once('-').expect("a center is called as its city is").0
}

/// Kills or silences a city; how many payments were lost, and in how many
/// milliseconds all was well.
#[must_use]
pub fn lose(estate: &Estate, how: &str, city: &str) -> (u64, u64) {
    let report = estate.drill(&[how, "city", city]);
    let drill = &report["drills"][0];
    println!(
        "{city} was lost; recovered: {}; acknowledged {}, present {}, lost {}, resolved {}",
        drill["rto_ms"], drill["acked"], drill["present"], drill["lost"], drill["unknown_resolved"]
    );
    for nothing in ["doubled", "unresolved"] {
        assert_eq!(drill[nothing], 0, "{nothing}: {report:#}");
    }
    let invariants = drill["invariants"].as_object().expect("invariants are reported");
    // That what was acknowledged is present is the caller's to judge.
    let mut others = invariants.iter().filter(|(number, _)| *number != "7");
    assert!(others.all(|(_, verdict)| verdict != "violated"), "{report:#}");
    let number = |value: &Value| value.as_u64();
    let phases = &drill["rto_ms"];
    // A database whose nodes come back stalls once more, so what is counted of
    // silence is the time until every lost shard was served elsewhere; and where
    // the machine is too busy for ten seconds as good as those before.
    let served = ["detect", "decide", "fence", "reroute"].map(|phase| number(&phases[phase]));
    let served = served.into_iter().sum::<Option<u64>>();
    let total = number(&phases["total"]).or(served);
    let recovered = if how == "silence" { served } else { total };
    let recovered = recovered.unwrap_or_else(|| panic!("service came back: {report:#}"));
    (number(&drill["lost"]).expect("it is counted"), recovered)
}

/// What many drills have shown, for a report.
pub fn sum_up(what: &str, seen: &[(u64, u64)]) {
    let mut times: Vec<u64> = seen.iter().map(|(_, recovered)| *recovered).collect();
    times.sort_unstable();
    let lost: u64 = seen.iter().map(|(lost, _)| lost).sum();
    let (middle, last) = (times[(times.len() - 1) / 2], times[times.len() - 1]);
    let count = seen.len();
    println!(
        "{what}: {count} cities lost, p50 {middle} ms, worst {last} ms, lost {lost}: {times:?}"
    );
}
