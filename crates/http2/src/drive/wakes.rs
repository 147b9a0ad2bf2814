//! Which of many futures within one task were woken.
//!
//! A bit for each; the first that is set after the task has looked wakes the
//! task, the others find that it will look.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire},
        },
    },
    task::{Context, Wake, Waker},
};

use futures::task::AtomicWaker;

const BITS: usize = u64::BITS as usize;

#[derive(Default)]
pub struct Wakes {
    task: Arc<Task>,
    segments: Vec<Arc<Segment>>,
    wakers: Vec<Waker>,
}

#[derive(Default)]
struct Task {
    waker: AtomicWaker,
    /// It will look.
    is_told: AtomicBool,
}

struct Segment {
    task: Arc<Task>,
    bits: AtomicU64,
}

struct Place {
    segment: Arc<Segment>,
    bit: u64,
}

// === impl Wakes ===

impl Wakes {
    /// More of the same task, which only one of the two has to register.
    pub fn beside(&self) -> Wakes {
        Wakes { task: self.task.clone(), ..Wakes::default() }
    }

    /// Wakers by number, made on first use and kept.
    pub fn waker(&mut self, at: usize) -> Waker {
        while self.wakers.len() <= at {
            let n = self.wakers.len();
            if n.is_multiple_of(BITS) {
                let segment = Segment { task: self.task.clone(), bits: AtomicU64::new(0) };
                self.segments.push(Arc::new(segment));
            }
            let place = Place { segment: self.segments[n / BITS].clone(), bit: 1 << (n % BITS) };
            self.wakers.push(Arc::new(place).into());
        }
        self.wakers[at].clone()
    }

    /// Before the bits are looked at, in every turn.
    pub fn register(&self, cx: &Context<'_>) {
        self.task.waker.register(cx.waker());
        self.task.is_told.swap(false, AcqRel);
    }

    /// Appends those that were woken since the last time.
    pub fn take(&self, woken: &mut Vec<usize>) {
        for (n, segment) in self.segments.iter().enumerate() {
            let mut bits = segment.bits.swap(0, Acquire);
            while bits != 0 {
                woken.push(n * BITS + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

// === impl Place ===

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Segment { task, bits } = &*self.segment;
        let was_set = bits.fetch_or(self.bit, AcqRel) & self.bit != 0;
        if !was_set && !task.is_told.swap(true, AcqRel) {
            task.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::{ArcWake, waker};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(count: &Arc<Count>) {
            count.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn many_that_wake_wake_the_task_once_and_are_all_found() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let task = waker(count.clone());
        let mut wakes = Wakes::default();
        let wakers: Vec<_> = (0..200).map(|at| wakes.waker(at)).collect();
        for round in 1..=3 {
            wakes.register(&Context::from_waker(&task));
            for at in [3, 64, 199, 3] {
                wakers[at].wake_by_ref();
            }
            let mut woken = Vec::new();
            wakes.take(&mut woken);
            assert_eq!((woken, count.0.load(Relaxed)), (vec![3, 64, 199], round));
        }
    }
}
