//! Whether the store can do its work: etcd's `/health`, `/livez`, `/readyz`
//! and the checks that the last two are made of.

use std::{
    fmt::Write as _, sync::atomic::AtomicU64, sync::atomic::Ordering::Relaxed, time::Duration,
};

use kv::{KeyRange, KeyspaceName, Kv as _, RangeRequest};

use crate::alarms::AlarmKind;
use crate::keyspaces::Keyspaces;

/// A store that does not answer itself for this long is not healthy: several
/// times the slowest sync that a healthy disk shows.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A check by its name in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

/// The process is not stuck: a restart would not help.
const LIVEZ: &[Check] = &[Check::SerializableRead];
/// And it can serve clients.
const READYZ: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

/// How checks ended so far, for the figures.
#[derive(Default)]
pub(crate) struct Tally {
    pub health_success: AtomicU64,
    pub health_failures: AtomicU64,
    /// By list and check: failed, succeeded, and whether the last one did.
    checks: [[[AtomicU64; 3]; READYZ.len()]; 2],
}

/// What a probe is told.
pub(crate) struct Verdict {
    pub healthy: bool,
    /// A line for each check.
    pub reason: String,
}

// === impl Check ===

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run(self, keyspaces: &Keyspaces) -> Result<(), String> {
        match self {
            Check::SerializableRead => read(keyspaces, true).await,
            Check::LinearizableRead => read(keyspaces, false).await,
            Check::DataCorruption if keyspaces.alarms().is_raised(AlarmKind::Corrupt) => {
                Err("alarm activated: CORRUPT".into())
            }
            // A log that fails its checks is not read at all; reads then fail
            // and say why.
            Check::DataCorruption => match read(keyspaces, true).await {
                Err(text) if text == kv::Error::Corrupt.to_string() => Err(text),
                _ => Ok(()),
            },
            // No store of ours is one.
            Check::NonLearner => Ok(()),
        }
    }
}

/// `/health`. As in etcd, an alarm that is not excluded comes first.
pub(crate) async fn health(
    keyspaces: &Keyspaces,
    excluded: &[&str],
    serializable: bool,
) -> Result<(), String> {
    // A store that fills up is noticed also while nobody writes.
    keyspaces.quota().is_full();
    for kind in AlarmKind::ALL {
        if keyspaces.alarms().is_raised(kind) && !excluded.contains(&kind.name()) {
            return Err(format!("ALARM {}", kind.name()));
        }
    }
    let default = keyspaces.get(&KeyspaceName::default()).ok();
    if !serializable && default.is_some_and(|handle| keyspaces.leader(&handle).is_none()) {
        return Err("RAFT NO LEADER".into());
    }
    read(keyspaces, serializable).await.map_err(|error| format!("RANGE ERROR:{error}"))
}

/// What `/livez` and `/readyz` consist of; none for any other path. A path may
/// name one check: `/readyz/serializable_read`.
pub(crate) fn checks(path: &str) -> Option<(usize, Vec<Check>)> {
    let (list, path) = match path.strip_prefix("/livez") {
        Some(rest) => (0, rest),
        None => (1, path.strip_prefix("/readyz")?),
    };
    let all = [LIVEZ, READYZ][list];
    match path.strip_prefix('/') {
        None if path.is_empty() => Some((list, all.to_vec())),
        None => None,
        Some(name) => {
            let one = all.iter().find(|check| check.name() == name)?;
            Some((list, vec![*one]))
        }
    }
}

/// Runs the checks of a list and counts them.
pub(crate) async fn run(
    keyspaces: &Keyspaces,
    tally: &Tally,
    (list, checks): (usize, Vec<Check>),
    excluded: &[&str],
) -> Verdict {
    let mut verdict = Verdict { healthy: true, reason: String::new() };
    for check in checks.into_iter().filter(|check| !excluded.contains(&check.name())) {
        let result = check.run(keyspaces).await;
        tally.count(list, check, result.is_ok());
        verdict.healthy &= result.is_ok();
        match result {
            Ok(()) => writeln!(verdict.reason, "[+]{} ok", check.name()),
            Err(error) => writeln!(verdict.reason, "[-]{} failed: {error}", check.name()),
        }
        .expect("writing to a string does not fail");
    }
    verdict
}

/// Asks the default keyspace's actor for something that need not be there.
async fn read(keyspaces: &Keyspaces, serializable: bool) -> Result<(), String> {
    let handle = keyspaces.get(&KeyspaceName::default()).map_err(|error| error.to_string())?;
    let request = RangeRequest { serializable, ..RangeRequest::new(KeyRange::key("\0")) };
    match tokio::time::timeout(TIMEOUT, handle.range(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the store does not answer in time".into()),
    }
}

// === impl Tally ===

impl Tally {
    fn count(&self, list: usize, check: Check, success: bool) {
        let at = READYZ.iter().position(|known| *known == check).expect("it is in the longer list");
        let figures = &self.checks[list][at];
        figures[usize::from(success)].fetch_add(1, Relaxed);
        figures[2].store(u64::from(success), Relaxed);
    }

    /// Under etcd's names.
    pub fn write(&self, page: &mut String) -> std::fmt::Result {
        for (name, figure) in [
            ("etcd_server_health_success", &self.health_success),
            ("etcd_server_health_failures", &self.health_failures),
        ] {
            writeln!(page, "# TYPE {name} counter\n{name} {}", figure.load(Relaxed))?;
        }
        writeln!(page, "# TYPE etcd_server_healthcheck gauge")?;
        self.each(|labels, figures| {
            writeln!(page, "etcd_server_healthcheck{{{labels}}} {}", figures[2].load(Relaxed))
        })?;
        writeln!(page, "# TYPE etcd_server_healthchecks_total counter")?;
        self.each(|labels, figures| {
            for (status, figure) in ["error", "success"].iter().zip(figures) {
                let labels = format!("{labels},status=\"{status}\"");
                let count = figure.load(Relaxed);
                writeln!(page, "etcd_server_healthchecks_total{{{labels}}} {count}")?;
            }
            Ok(())
        })
    }

    /// Those that have run.
    fn each(
        &self,
        mut line: impl FnMut(&str, &[AtomicU64; 3]) -> std::fmt::Result,
    ) -> std::fmt::Result {
        for (list, checks) in ["livez", "readyz"].iter().zip(&self.checks) {
            for (check, figures) in READYZ.iter().zip(checks) {
                if figures[..2].iter().any(|figure| figure.load(Relaxed) > 0) {
                    line(&format!("type=\"{list}\",name=\"{}\"", check.name()), figures)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_list_or_one_of_its_checks() {
        let names = |path| {
            let found = checks(path)?;
            Some(found.1.into_iter().map(Check::name).collect::<Vec<_>>())
        };
        assert_eq!(names("/livez"), Some(vec!["serializable_read"]));
        assert_eq!(names("/readyz").map(|names| names.len()), Some(4));
        assert_eq!(names("/readyz/non_learner"), Some(vec!["non_learner"]));
        for none in ["/livez/non_learner", "/readyz/", "/readyzz", "/health"] {
            assert_eq!(names(none), None, "{none}");
        }
    }
}
