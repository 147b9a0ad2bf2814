//! When log is worth folding. Pure: the caller brings the time.
//!
//! Under load, history is compacted every second, and folding each time would
//! write every key to the base as often as it is put: on Galera that took a
//! third of all writes. So log is left to gather for a while; a key that was
//! put often meanwhile is written once. What it costs is log to read for whoever
//! starts without a copy, which is why there is a bound.

use std::{collections::HashMap, time::Duration};

use kv::{KeyspaceName, Revision};
use tokio::time::Instant;

use crate::Epoch;

/// Read by a replica that starts in about a second.
const LOG_BYTES: u64 = 64 * 1024 * 1024;

/// However little was written: what somebody removed goes for good.
const FOLD_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Rests {
    by_name: HashMap<KeyspaceName, Rest>,
}

/// Of one keyspace, since it was folded.
#[derive(Debug)]
struct Rest {
    folded: Instant,
    epoch: Epoch,
    appended: u64,
    /// What was to be folded since, and was not.
    put_off: Option<Revision>,
}

// === impl Rests ===

impl Rests {
    pub fn appended(&mut self, keyspace: &KeyspaceName, bytes: usize) {
        if let Some(rest) = self.by_name.get_mut(keyspace) {
            rest.appended += bytes as u64;
        }
    }

    /// Puts the fold off, if it can wait. One under another epoch cannot: who
    /// asks may have been deposed.
    pub fn put_off(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
        now: Instant,
    ) -> bool {
        let Some(rest) = self.by_name.get_mut(keyspace) else { return false };
        let is_due = rest.appended >= LOG_BYTES || now.duration_since(rest.folded) >= FOLD_EVERY;
        if is_due || rest.epoch != epoch {
            return false;
        }
        rest.put_off = rest.put_off.max(Some(revision));
        true
    }

    /// Everything up to now is folded, or may be.
    pub fn folded(&mut self, keyspace: &KeyspaceName, epoch: Epoch, now: Instant) {
        let rest = Rest { folded: now, epoch, appended: 0, put_off: None };
        self.by_name.insert(keyspace.clone(), rest);
    }

    /// It was not folded after all: the next one is not put off.
    pub fn forget(&mut self, keyspace: &KeyspaceName) {
        self.by_name.remove(keyspace);
    }

    /// Whether so much is waiting that a fold must not take its time.
    pub fn presses(&self, keyspace: &KeyspaceName) -> bool {
        self.by_name.get(keyspace).is_some_and(|rest| rest.appended >= 2 * LOG_BYTES)
    }

    /// All that was put off, which then is no more.
    pub fn take_put_off(&mut self) -> Vec<(KeyspaceName, Epoch, Revision)> {
        let put_off = |(keyspace, rest): (&KeyspaceName, &mut Rest)| {
            Some((keyspace.clone(), rest.epoch, rest.put_off.take()?))
        };
        self.by_name.iter_mut().filter_map(put_off).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_waits_for_log_or_time_and_not_under_another_epoch() {
        let name = KeyspaceName::new("a").expect("a name");
        let (begin, mut rests) = (Instant::now(), Rests::default());
        let soon = begin + FOLD_EVERY / 2;
        let waits =
            |rests: &mut Rests, epoch, at| rests.put_off(&name, Epoch(epoch), Revision(7), at);
        assert!(!waits(&mut rests, 1, begin), "the first one is not put off");
        rests.folded(&name, Epoch(1), begin);
        assert!(waits(&mut rests, 1, soon));
        assert!(!waits(&mut rests, 2, soon));
        assert!(!waits(&mut rests, 1, begin + FOLD_EVERY));
        rests.appended(&name, LOG_BYTES as usize - 1);
        assert!(waits(&mut rests, 1, soon));
        rests.appended(&name, 1);
        assert!(!waits(&mut rests, 1, soon));
        assert_eq!(rests.take_put_off(), [(name.clone(), Epoch(1), Revision(7))]);
        assert_eq!(rests.take_put_off(), []);
    }
}
