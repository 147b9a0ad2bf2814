//! A bucket's writers share its lane, one transaction at a time, so that two
//! payments of one payer, or of one merchant in the bucket, never race to a
//! failed comparison. The lane remembers the rows it wrote last.
//!
//! A bucket is a ten-thousandth of the users, so queues are short; per-account
//! queues would need two at once for a payment, and an order to take them in.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{database::Row, transact::Need};

/// Rows remembered per lane: sixteen busy payers with a merchant each. At about
/// 200 bytes a row, a unit's 2,000 lanes stay below 13 MB.
const ROWS_MAX: usize = 32;

#[derive(Default)]
pub struct Lane {
    /// Least recently written first.
    rows: VecDeque<(Bytes, Row)>,
}

// === impl Lane ===

impl Lane {
    pub fn get(&self, key: &Bytes) -> Option<Row> {
        self.rows.iter().rev().find(|(known, _)| known == key).map(|(_, row)| row.clone())
    }

    /// Remembers what was read or written for `need`. Rows expected absent are
    /// written once and not asked for again.
    pub fn keep(&mut self, need: &Need, row: Row) {
        if need.expect_absent {
            return;
        }
        if let Some(place) = self.rows.iter().position(|(known, _)| *known == need.key) {
            self.rows.remove(place);
        } else if self.rows.len() == ROWS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back((need.key.clone(), row));
    }

    pub fn keep_all(&mut self, needs: &[Need], rows: &[Row]) {
        for (need, row) in needs.iter().zip(rows) {
            self.keep(need, row.clone());
        }
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
        assert_eq!(lane.rows.len(), ROWS_MAX);
    }
}
