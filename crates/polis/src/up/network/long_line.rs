//! A line that is long: every frame comes out some time after it went in, and
//! in order. Pure: whoever carries the frames brings the time.

use std::{
    collections::{BTreeSet, VecDeque},
    net::Ipv4Addr,
    time::Duration,
};

use rt::random::Random;
use tokio::time::Instant;

/// Frames under way at most: a second of a gigabit. A line that holds more
/// loses, as one of copper would.
const BYTES_MAX: usize = 128 << 20;

/// Where the parts of a frame are: two addresses and a type of Ethernet, then
/// IPv4's header.
const TYPE_AT: usize = 12;
const TYPE_IPV4: [u8; 2] = [8, 0];
const FROM_AT: usize = 26;
const TO_AT: usize = 30;

/// Which frames are late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Late {
    /// Those from and to one of these.
    With(BTreeSet<Ipv4Addr>),
    /// All but those between two of these.
    AllButWithin(BTreeSet<Ipv4Addr>),
}

/// One direction of a line.
pub struct LongLine {
    late: Late,
    delay: Duration,
    jitter: Duration,
    random: Random,
    frames: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    lost: u64,
}

/// What becomes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    /// It is not for this line: hand it on.
    Passes,
    Waits,
    /// There is no room.
    Lost,
}

// === impl Late ===

impl Late {
    fn holds(&self, frame: &[u8]) -> bool {
        let address = |at: usize| -> Option<Ipv4Addr> {
            let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
            Some(bytes.into())
        };
        let is_ipv4 = frame.get(TYPE_AT..TYPE_AT + 2) == Some(&TYPE_IPV4[..]);
        let ends = if is_ipv4 { address(FROM_AT).zip(address(TO_AT)) } else { None };
        match (self, ends) {
            (Late::With(far), Some((from, to))) => far.contains(&from) || far.contains(&to),
            (Late::AllButWithin(near), Some((from, to))) => {
                !(near.contains(&from) && near.contains(&to))
            }
            // How neighbours find each other.
            (_, None) => false,
        }
    }
}

// === impl LongLine ===

impl LongLine {
    #[must_use]
    pub fn new(late: Late, delay: Duration, jitter: Duration, random: Random) -> LongLine {
        LongLine { late, delay, jitter, random, frames: VecDeque::new(), bytes: 0, lost: 0 }
    }

    /// `metadata` bytes before the frame itself are carried along unread.
    pub fn enter(&mut self, now: Instant, frame: &[u8], metadata: usize) -> Entered {
        if !self.late.holds(frame.get(metadata..).unwrap_or_default()) {
            return Entered::Passes;
        }
        if self.bytes + frame.len() > BYTES_MAX {
            self.lost += 1;
            return Entered::Lost;
        }
        let jitter_us = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(self.random.below(jitter_us.saturating_add(1)));
        let due = now + self.delay + jitter;
        // A line does not reorder.
        let due = self.frames.back().map_or(due, |(last, _)| due.max(*last));
        self.bytes += frame.len();
        self.frames.push_back((due, frame.to_vec()));
        Entered::Waits
    }

    /// When [`LongLine::leave`] gives something next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.frames.front().map(|(due, _)| *due)
    }

    /// The next frame that has arrived.
    pub fn leave(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        self.leave_early()
    }

    /// The next frame, arrived or not.
    pub fn leave_early(&mut self) -> Option<Vec<u8>> {
        let (_, frame) = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 10);
    const BESIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 11);
    const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 12);

    fn frame(from: Ipv4Addr, to: Ipv4Addr, number: u8) -> Vec<u8> {
        let mut frame = vec![number; 40];
        frame[TYPE_AT..TYPE_AT + 2].copy_from_slice(&TYPE_IPV4);
        frame[FROM_AT..FROM_AT + 4].copy_from_slice(&from.octets());
        frame[TO_AT..TO_AT + 4].copy_from_slice(&to.octets());
        frame
    }

    fn line(late: Late, delay_ms: u64, jitter_ms: u64) -> LongLine {
        let [delay, jitter] = [delay_ms, jitter_ms].map(Duration::from_millis);
        LongLine::new(late, delay, jitter, Random::seeded(7))
    }

    #[test]
    fn every_frame_comes_out_once_late_and_in_order() {
        let mut line = line(Late::AllButWithin([NEAR, BESIDE].into()), 30, 10);
        let start = Instant::now();
        for number in 0..100 {
            let at = start + Duration::from_millis(u64::from(number));
            let entered = line.enter(at, &frame(NEAR, FAR, number), 0);
            assert_eq!(entered, Entered::Waits);
        }
        assert!(line.leave(start + Duration::from_millis(29)).is_none());
        let mut came = Vec::new();
        for ms in 0..150 {
            let now = start + Duration::from_millis(ms);
            while let Some(frame) = line.leave(now) {
                let sent = u64::from(frame[0]);
                assert!((30..=41).contains(&(ms - sent)), "{sent} came at {ms}");
                came.push(frame[0]);
            }
        }
        assert_eq!(came, (0..100).collect::<Vec<_>>());
        assert_eq!((line.bytes, line.lost()), (0, 0));
    }

    #[test]
    fn only_the_line_that_is_named_is_long() {
        let now = Instant::now();
        let mut from = line(Late::AllButWithin([NEAR, BESIDE].into()), 30, 0);
        assert_eq!(from.enter(now, &frame(NEAR, BESIDE, 1), 0), Entered::Passes);
        assert_eq!(from.enter(now, &frame(FAR, BESIDE, 1), 0), Entered::Waits);
        assert_eq!(from.enter(now, &[0; 40], 0), Entered::Passes, "no IPv4");
        assert_eq!(from.enter(now, &[0; 3], 0), Entered::Passes, "no frame");
        let mut with = line(Late::With([FAR].into()), 30, 0);
        assert_eq!(with.enter(now, &frame(NEAR, BESIDE, 1), 0), Entered::Passes);
        assert_eq!(with.enter(now, &frame(FAR, NEAR, 1), 0), Entered::Waits);
        let behind = [&[0; 10][..], &frame(NEAR, FAR, 1)].concat();
        assert_eq!(with.enter(now, &behind, 10), Entered::Waits, "behind its metadata");
        assert_eq!(with.leave_early().map(|frame| frame.len()), Some(40));
        assert_eq!(with.leave_early().map(|frame| frame.len()), Some(50));
    }
}
