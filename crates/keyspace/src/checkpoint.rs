//! What is left of long leases, written down now and then, so that a change of
//! leader does not give a lease of a day another day.
//!
//! Notes hold it, under the lease's id. A renewal takes the note away with it,
//! durably, before anyone is told of it: a note that outlived a renewal would
//! end the lease early. Short leases are left alone, since a change of leader
//! makes them longer by less than anyone waits for.

use std::time::Duration;

use bytes::Bytes;
use kv::{Error, LeaseId};
use rt::Millis;

use crate::{Applied, Keyspace};

/// Leases longer than this are written down, this often: as etcd.
pub const LEASE_CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// Leases in one batch; etcd's bound.
pub const LEASE_CHECKPOINTS_AT_ONCE_MAX: usize = 1_000;

const PREFIX: &str = "lease/";

// === impl Keyspace ===

impl Keyspace {
    /// Writes down what is left of the next long leases after `after`. Answers
    /// with the last of them; none when it has been through all.
    pub fn lease_checkpoint(
        &mut self,
        after: Option<LeaseId>,
        now: Millis,
    ) -> Applied<Option<LeaseId>> {
        let long: Vec<_> = self
            .leases
            .remaining_after(after, now)
            .filter(|(_, ttl, _)| *ttl > LEASE_CHECKPOINT_EVERY)
            .map(|(id, _, remaining)| (id, remaining))
            .take(LEASE_CHECKPOINTS_AT_ONCE_MAX)
            .collect();
        let last = long.last().map(|(id, _)| *id);
        let mut records = Vec::new();
        for (id, remaining) in long {
            let value = remaining.as_millis().to_string();
            records.extend(self.set_note(name(id), Some(value.into())).records);
        }
        Applied { response: last, records }
    }

    /// A lease that lives elsewhere too, as it stands there: granted, if it is
    /// not here yet, and with `remaining` of its time left.
    pub fn lease_carry(
        &mut self,
        id: LeaseId,
        ttl: Duration,
        remaining: Duration,
        now: Millis,
    ) -> Result<Applied<()>, Error> {
        let mut records = match self.leases.contains(id) {
            true => self.lease_keep_alive(id, now).map(|_| Vec::new())?,
            false => self.lease_grant(id, ttl, now)?.records,
        };
        self.leases.shorten(id, remaining, now);
        if ttl > LEASE_CHECKPOINT_EVERY {
            let value = remaining.as_millis().to_string();
            records.extend(self.set_note(name(id), Some(value.into())).records);
        }
        Ok(Applied { response: (), records })
    }

    /// A renewed or revoked lease has no note any more.
    pub fn forget_checkpoint(&mut self, id: LeaseId) -> Applied<()> {
        match self.has_notes() {
            true => self.set_note(name(id), None),
            false => Applied { response: (), records: Vec::new() },
        }
    }

    /// Whoever begins to lead gives every lease its whole time to live again
    /// ([`Self::renew_leases`]), except where a note says that less was left.
    pub fn restore_checkpoints(&mut self, now: Millis) {
        let noted: Vec<_> = self
            .notes(PREFIX.as_bytes())
            .filter_map(|(name, value)| Some((id(name)?, remaining(value)?)))
            .collect();
        for (id, remaining) in noted {
            self.leases.shorten(id, remaining, now);
        }
    }
}

fn name(LeaseId(id): LeaseId) -> Bytes {
    format!("{PREFIX}{id:016x}").into()
}

fn id(name: &[u8]) -> Option<LeaseId> {
    let digits = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?;
    u64::from_str_radix(digits, 16).ok().map(|id| LeaseId(id.cast_signed()))
}

fn remaining(value: &[u8]) -> Option<Duration> {
    std::str::from_utf8(value).ok()?.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Base, Config, Record};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn left(keyspace: &Keyspace, id: i64, now: Millis) -> Duration {
        keyspace.lease_info(LeaseId(id), false, now).expect("a lease").remaining
    }

    /// Another leader's copy, ten minutes later.
    fn taken_over(log: &[Record]) -> (Keyspace, Millis) {
        let now = Millis(10_000_000);
        let mut copy =
            Keyspace::load(Config::default(), Base::default(), log.to_vec(), now).expect("loads");
        copy.renew_leases(now);
        copy.restore_checkpoints(now);
        (copy, now)
    }

    #[test]
    fn a_long_lease_keeps_what_was_left_and_a_short_one_begins_again() {
        let mut keyspace = Keyspace::new(Config::default());
        let mut log = Vec::new();
        for (id, ttl) in [(1, HOUR), (2, Duration::from_secs(300)), (3, HOUR)] {
            let granted = keyspace.lease_grant(LeaseId(id), ttl, Millis(0)).expect("a lease");
            log.extend(granted.records);
        }
        let at = Millis(3_000_000);
        let noted = keyspace.lease_checkpoint(None, at);
        assert_eq!((noted.response, noted.records.len()), (Some(LeaseId(3)), 2));
        log.extend(noted.records);
        assert_eq!(keyspace.lease_checkpoint(Some(LeaseId(3)), at).response, None);

        // One of them is renewed after that: its note must not end it early.
        keyspace.lease_keep_alive(LeaseId(3), at).expect("renewed");
        log.extend(keyspace.forget_checkpoint(LeaseId(3)).records);
        let (copy, now) = taken_over(&log);
        assert_eq!(left(&copy, 1, now), Duration::from_secs(600));
        assert_eq!(left(&copy, 2, now), Duration::from_secs(300));
        assert_eq!(left(&copy, 3, now), HOUR);
    }

    #[test]
    fn a_lease_that_is_carried_over_has_what_is_left_of_it_also_after_a_change_of_leader() {
        let mut keyspace = Keyspace::new(Config::default());
        let (minute, at) = (Duration::from_secs(60), Millis(5_000));
        let mut log = keyspace.lease_carry(LeaseId(1), HOUR, minute, at).expect("granted").records;
        assert_eq!(left(&keyspace, 1, at), minute);
        // Its owner has renewed it there.
        let again = keyspace.lease_carry(LeaseId(1), HOUR, 2 * minute, at).expect("carried");
        log.extend(again.records);
        assert_eq!(left(&keyspace, 1, at), 2 * minute);
        let (mut copy, now) = taken_over(&log);
        assert_eq!(left(&copy, 1, now), 2 * minute);
        // And here: then it is a lease as any other.
        assert_eq!(copy.lease_keep_alive(LeaseId(1), now), Ok(HOUR));
        assert_eq!(copy.lease_carry(LeaseId(2), 10 * HOUR, 20 * HOUR, now).map(drop), Ok(()));
        assert_eq!(left(&copy, 2, now), 10 * HOUR);
    }

    #[test]
    fn nothing_is_left_behind_by_a_lease_that_is_gone() {
        let mut keyspace = Keyspace::new(Config::default());
        let _ = keyspace.lease_grant(LeaseId(1), HOUR, Millis(0)).expect("a lease");
        let _ = keyspace.lease_checkpoint(None, Millis(1));
        let _ = keyspace.lease_revoke(LeaseId(1)).expect("revoked");
        let _ = keyspace.forget_checkpoint(LeaseId(1));
        assert_eq!(keyspace.notes(b"").count(), 0);
        assert!(keyspace.forget_checkpoint(LeaseId(1)).records.is_empty(), "it costs nothing");
    }

    #[test]
    fn every_id_is_read_back_from_its_note() {
        for number in [1, -1, i64::MIN, i64::MAX] {
            assert_eq!(id(&name(LeaseId(number))), Some(LeaseId(number)));
        }
    }
}
