//! The hold queue: requests whose shard cannot be served right now, waiting
//! within their deadlines. One per thread, bounded in requests and bytes.
//!
//! A ticket is drawn when a request arrives and kept for all its waits, so a
//! request that is refused by a fence and comes back stands where it stood:
//! first in, first out per thread and shard. Who comes later stands behind,
//! even where it could try at once. Who wakes whom is decided here; time and
//! I/O are the caller's.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use topology::{Epoch, SHARDS_MAX, Shard};

/// A request's place in line; unique within a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Of all shards of a thread together.
    pub requests_max: usize,
    pub bytes_max: usize,
    /// Of one shard, so that one user's storm leaves room for the others.
    pub requests_per_shard_max: usize,
}

#[derive(Debug)]
pub struct Hold {
    limits: HoldLimits,
    by_shard: Vec<BTreeMap<Ticket, Waiter>>,
    /// The one of each shard that left the line to try for all.
    pioneers: Vec<Option<Pioneer>>,
    requests: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Waiter {
    newer_than: Option<Epoch>,
    bytes: usize,
    wake: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
struct Pioneer {
    ticket: Ticket,
    /// The first in line has asked for its place once already.
    overdue: bool,
}

/// The queue is at one of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

// === impl Hold ===

impl Hold {
    #[must_use]
    pub fn new(limits: HoldLimits) -> Hold {
        let by_shard = (0..SHARDS_MAX).map(|_| BTreeMap::new()).collect();
        let pioneers = vec![None; usize::from(SHARDS_MAX)];
        Hold { limits, by_shard, pioneers, requests: 0, bytes: 0 }
    }

    /// Puts a request in line. With `newer_than` it knows that this epoch of
    /// its shard is of no use to it.
    pub fn enter(
        &mut self,
        shard: Shard,
        ticket: Ticket,
        newer_than: Option<Epoch>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<()>, Full> {
        self.gone(shard, ticket);
        let line = &mut self.by_shard[usize::from(shard.number())];
        if self.requests >= self.limits.requests_max
            || self.bytes + bytes > self.limits.bytes_max
            || line.len() >= self.limits.requests_per_shard_max
        {
            return Err(Full);
        }
        let (wake, woken) = oneshot::channel();
        let before = line.insert(ticket, Waiter { newer_than, bytes, wake });
        debug_assert!(before.is_none(), "a request waits once at a time");
        self.requests += 1;
        self.bytes += bytes;
        Ok(woken)
    }

    /// Takes a request out of line, if it still stands in it.
    pub fn leave(&mut self, shard: Shard, ticket: Ticket) {
        if let Some(waiter) = self.by_shard[usize::from(shard.number())].remove(&ticket) {
            self.requests -= 1;
            self.bytes -= waiter.bytes;
        }
    }

    /// Wakes, in order of arrival, those of `shard` that `ready` is true for,
    /// given the epoch that they must see exceeded. Returns how many.
    pub fn release(&mut self, shard: Shard, ready: impl Fn(Option<Epoch>) -> bool) -> usize {
        let line = &mut self.by_shard[usize::from(shard.number())];
        let leaving: Vec<Ticket> = line
            .iter()
            .filter(|(_, waiter)| ready(waiter.newer_than))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in &leaving {
            let waiter = line.remove(ticket).expect("listed a moment ago under the same borrow");
            self.requests -= 1;
            self.bytes -= waiter.bytes;
            // One that has gone takes itself out of line; this one raced with us.
            let _ = waiter.wake.send(());
        }
        leaving.len()
    }

    /// Whether someone who came before `ticket` stands in line or tries for all.
    #[must_use]
    pub fn is_behind(&self, shard: Shard, ticket: Ticket) -> bool {
        let index = usize::from(shard.number());
        let first = self.by_shard[index].first_key_value().map(|(first, _)| *first);
        let pioneer = self.pioneers[index].map(|pioneer| pioneer.ticket);
        first.into_iter().chain(pioneer).any(|other| other < ticket)
    }

    /// Lets the first in line leave it to try for all, one at a time. True if
    /// that is `ticket`, which is the pioneer until it is in line again,
    /// [`Hold::gone`], or not back when the first in line asks a second time:
    /// an owner that is silent to one must not silence the whole line.
    pub fn go_first(&mut self, shard: Shard, ticket: Ticket) -> bool {
        let index = usize::from(shard.number());
        let first = self.by_shard[index].first_key_value().map(|(first, _)| *first);
        if first != Some(ticket) {
            return false;
        }
        if let Some(pioneer) = self.pioneers[index].as_mut().filter(|pioneer| !pioneer.overdue) {
            pioneer.overdue = true;
            return false;
        }
        self.leave(shard, ticket);
        self.pioneers[index] = Some(Pioneer { ticket, overdue: false });
        true
    }

    /// There is news of `shard`: nobody waits for what its pioneer finds out.
    pub fn forget_pioneer(&mut self, shard: Shard) {
        self.pioneers[usize::from(shard.number())] = None;
    }

    /// The request has ended, or waits again: another may try.
    pub fn gone(&mut self, shard: Shard, ticket: Ticket) {
        let pioneer = &mut self.pioneers[usize::from(shard.number())];
        if pioneer.is_some_and(|pioneer| pioneer.ticket == ticket) {
            *pioneer = None;
        }
    }

    #[must_use]
    pub fn is_waiting(&self, shard: Shard) -> bool {
        !self.by_shard[usize::from(shard.number())].is_empty()
    }

    /// Shards with someone in line.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        let shards = (0..SHARDS_MAX).filter_map(Shard::new);
        shards.filter(|shard| self.is_waiting(*shard)).collect()
    }

    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HoldLimits =
        HoldLimits { requests_max: 3, bytes_max: 100, requests_per_shard_max: 2 };

    fn shard(number: u16) -> Shard {
        Shard::new(number).expect("a shard")
    }

    #[test]
    fn those_who_are_ready_are_woken_and_leave_nothing_behind() {
        let mut hold = Hold::new(LIMITS);
        let mut any = hold.enter(shard(1), Ticket(2), None, 10).expect("room");
        let mut newer = hold.enter(shard(1), Ticket(1), Some(Epoch(5)), 10).expect("room");
        assert_eq!(hold.release(shard(1), |newer_than| newer_than.is_none_or(|e| Epoch(5) > e)), 1);
        assert!(any.try_recv().is_ok() && newer.try_recv().is_err());
        assert_eq!(hold.release(shard(1), |_| true), 1);
        assert_eq!((hold.requests(), hold.bytes(), hold.is_waiting(shard(1))), (0, 0, false));
    }

    #[test]
    fn one_at_a_time_tries_for_all_and_it_is_the_first() {
        let mut hold = Hold::new(LIMITS);
        let _first = hold.enter(shard(1), Ticket(1), None, 10).expect("room");
        let _second = hold.enter(shard(1), Ticket(2), None, 10).expect("room");
        assert!(!hold.go_first(shard(1), Ticket(2)) && hold.go_first(shard(1), Ticket(1)));
        assert!(!hold.go_first(shard(1), Ticket(2)), "the first is trying");
        let _first = hold.enter(shard(1), Ticket(1), None, 10).expect("room");
        assert!(!hold.go_first(shard(1), Ticket(2)) && hold.go_first(shard(1), Ticket(1)));
        hold.gone(shard(1), Ticket(1));
        assert!(hold.go_first(shard(1), Ticket(2)));
    }

    #[test]
    fn a_later_ticket_is_behind_the_line_and_its_pioneer_until_there_is_news() {
        let mut hold = Hold::new(LIMITS);
        assert!(!hold.is_behind(shard(1), Ticket(2)), "nobody is here");
        let _first = hold.enter(shard(1), Ticket(1), None, 10).expect("room");
        assert!(hold.is_behind(shard(1), Ticket(2)), "behind the line");
        assert!(!hold.is_behind(shard(1), Ticket(1)) && !hold.is_behind(shard(2), Ticket(2)));
        assert!(hold.go_first(shard(1), Ticket(1)));
        assert!(hold.is_behind(shard(1), Ticket(2)), "behind the pioneer");
        assert!(!hold.is_behind(shard(1), Ticket(1)), "the pioneer itself");
        hold.forget_pioneer(shard(1));
        assert!(!hold.is_behind(shard(1), Ticket(2)));
    }

    #[test]
    fn a_pioneer_that_does_not_come_back_is_followed_by_the_next() {
        let mut hold = Hold::new(LIMITS);
        let _first = hold.enter(shard(1), Ticket(1), None, 10).expect("room");
        let _second = hold.enter(shard(1), Ticket(2), None, 10).expect("room");
        assert!(hold.go_first(shard(1), Ticket(1)));
        assert!(!hold.go_first(shard(1), Ticket(2)), "it has just gone");
        assert!(hold.go_first(shard(1), Ticket(2)), "it has been away for a whole pause");
        hold.gone(shard(1), Ticket(1));
        assert!(hold.is_behind(shard(1), Ticket(3)), "the second is the pioneer now");
    }

    #[test]
    fn every_bound_refuses_and_leaving_makes_room_again() {
        let mut hold = Hold::new(LIMITS);
        let _a = hold.enter(shard(1), Ticket(1), None, 10).expect("room");
        let _b = hold.enter(shard(1), Ticket(2), None, 10).expect("room");
        assert_eq!(hold.enter(shard(1), Ticket(3), None, 10).err(), Some(Full), "per shard");
        assert_eq!(hold.enter(shard(2), Ticket(3), None, 81).err(), Some(Full), "bytes");
        let _c = hold.enter(shard(2), Ticket(3), None, 10).expect("room");
        assert_eq!(hold.enter(shard(3), Ticket(4), None, 1).err(), Some(Full), "requests");
        hold.leave(shard(1), Ticket(1));
        hold.leave(shard(1), Ticket(1));
        assert_eq!((hold.requests(), hold.bytes()), (2, 20));
        assert!(hold.enter(shard(3), Ticket(4), None, 1).is_ok());
    }
}
