//! A bucket's writers share its lane, one transaction at a time, so that two
//! payments of one payer, or of one merchant in the bucket, never race to a
//! failed comparison. The lane remembers the rows it wrote last.
//!
//! A bucket is a ten-thousandth of the users, so queues are short; per-account
//! queues would need two at once for a payment, and an order to take them in.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

use crate::{database::Row, transact::Need};

/// Rows that any lane remembers: sixteen busy payers with a merchant each. At
/// about 200 bytes a row, a unit's 2,000 lanes stay below 13 MB.
const ROWS_MIN: usize = 32;

/// Rows that a busy lane remembers, so that a payer who comes back is not read
/// again: what a payment needs that is not remembered costs a round trip.
const ROWS_MAX: usize = 4096;

/// Rows beyond the least of each lane, of the whole process: 13 MB more.
const EXTRA_MAX: usize = 65_536;

static EXTRA: AtomicUsize = AtomicUsize::new(0);

#[derive(Default)]
pub struct Lane {
    rows: HashMap<Bytes, (u64, Row)>,
    /// By when each was touched last.
    order: BTreeMap<u64, Bytes>,
    touches: u64,
}

// === impl Lane ===

impl Lane {
    pub fn get(&self, key: &Bytes) -> Option<Row> {
        self.rows.get(key).map(|(_, row)| row.clone())
    }

    /// Remembers what was read or written for `need`. Rows expected absent are
    /// written once and not asked for again.
    pub fn keep(&mut self, need: &Need, row: Row) {
        if need.expect_absent {
            return;
        }
        self.touches += 1;
        match self.rows.insert(need.key.clone(), (self.touches, row)) {
            Some((before, _)) => drop(self.order.remove(&before)),
            None => self.make_room(),
        }
        self.order.insert(self.touches, need.key.clone());
    }

    pub fn keep_all(&mut self, needs: &[Need], rows: &[Row]) {
        for (need, row) in needs.iter().zip(rows) {
            self.keep(need, row.clone());
        }
    }

    /// One row came in: it has room, or the one goes that was not touched for
    /// longest.
    fn make_room(&mut self) {
        if self.rows.len() <= ROWS_MIN {
            return;
        }
        if self.rows.len() <= ROWS_MAX && EXTRA.fetch_add(1, Relaxed) < EXTRA_MAX {
            return;
        }
        if self.rows.len() <= ROWS_MAX {
            EXTRA.fetch_sub(1, Relaxed);
        }
        if let Some((_, oldest)) = self.order.pop_first() {
            self.rows.remove(&oldest);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        EXTRA.fetch_sub(self.rows.len().saturating_sub(ROWS_MIN), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use kv::Revision;

    use super::*;

    #[test]
    fn a_lane_forgets_the_rows_it_has_not_touched_for_longest() {
        let mut lane = Lane::default();
        let need = |n: usize| Need { key: format!("k{n}").into(), expect_absent: false };
        let row = |n: usize| Row { value: None, modified: Revision(n as u64) };
        for n in 0..ROWS_MAX {
            lane.keep(&need(n), row(n));
        }
        lane.keep(&need(0), row(99));
        lane.keep(&need(ROWS_MAX), row(1));
        assert_eq!(lane.get(&need(0).key), Some(row(99)));
        assert_eq!(lane.get(&need(1).key), None);
        assert_eq!((lane.rows.len(), lane.order.len()), (ROWS_MAX, ROWS_MAX));
    }
}
