//! When the machine itself stood still: its disk took long over a sync, or a
//! timer came late. All that is drilled runs on it, so a stall of the machine
//! looks like one of Polis; a reader of the report must be able to tell.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Between two looks: twenty small syncs a second beside a load's hundreds.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is kept: a tenth of what a payment may take to be in time.
const STALL_MIN: Duration = Duration::from_millis(100);
/// What a report lists of one drill; a machine with more is no place to drill on.
const STALLS_MAX: usize = 200;
/// What is written and synced: a block.
const BLOCK: [u8; 4096] = [0; 4096];

/// What took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A sync of one block, where the data is.
    Sync,
    /// A thread that wanted to run.
    Timer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// When it began, on the run's clock.
    pub at_us: u64,
    pub ms: u64,
    pub what: What,
}

/// A thread that looks until it is dropped or asked.
pub struct Machine {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Vec<(Instant, Duration, What)>>,
}

// === impl Machine ===

impl Machine {
    /// Looks at the disk that `dir` is on.
    pub fn watch(dir: &Path) -> std::io::Result<Machine> {
        // The first drill of an estate has no reports beside it.
        fs::create_dir_all(dir)?;
        let path = dir.join(format!("machine-{}.probe", std::process::id()));
        let file = File::create(&path)?;
        // It goes with the handle, however we end.
        fs::remove_file(&path)?;
        let (stop, stopped) = mpsc::channel();
        let look = move || look(&file, &stopped);
        let thread = std::thread::Builder::new().name("machine".into()).spawn(look)?;
        Ok(Machine { stop, thread })
    }

    /// What was seen, on the clock of a run that began at `start`.
    pub fn stalls(self, start: Instant) -> Vec<Stall> {
        drop(self.stop);
        let seen = self.thread.join().unwrap_or_default().into_iter();
        let stalls = seen.map(|(at, took, what)| Stall {
            at_us: count(at.saturating_duration_since(start).as_micros()),
            ms: count(took.as_millis()),
            what,
        });
        stalls.collect()
    }
}

fn look(file: &File, stopped: &mpsc::Receiver<()>) -> Vec<(Instant, Duration, What)> {
    let mut seen = Vec::new();
    let mut note = |at: Instant, took: Duration, what: What| {
        if took >= STALL_MIN && seen.len() < STALLS_MAX {
            seen.push((at, took, what));
        }
    };
    // A disk that is full, or refuses, says nothing about its pace.
    let mut works = true;
    loop {
        let at = Instant::now();
        if works {
            works = file.write_all_at(&BLOCK, 0).and_then(|()| file.sync_data()).is_ok();
            note(at, at.elapsed(), What::Sync);
        }
        let at = Instant::now();
        match stopped.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {
                note(at, at.elapsed().saturating_sub(LOOK_EVERY), What::Timer);
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return seen,
        }
    }
}

/// The longest of them, for a line that people read.
pub fn worst(stalls: &[Stall]) -> Option<&Stall> {
    stalls.iter().max_by_key(|stall| stall.ms)
}

fn count(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

// === impl Stall ===

impl std::fmt::Display for Stall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.what {
            What::Sync => "a sync of one block took",
            What::Timer => "a thread waited to run for",
        };
        write!(f, "{what} {} ms at second {}", self.ms, self.at_us / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leaves_no_file_and_ends_when_asked() {
        let dir = std::env::temp_dir().join(format!("polis-machine-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("make a folder");
        let start = Instant::now();
        let machine = Machine::watch(&dir).expect("a folder to write in");
        let stalls = machine.stalls(start);
        assert!(stalls.iter().all(|stall| stall.ms >= 100));
        fs::remove_dir(&dir).expect("an empty folder");
    }

    #[test]
    fn the_worst_is_told() {
        let stall = |ms| Stall { at_us: 13_760_000, ms, what: What::Sync };
        let stalls = [stall(120), stall(1890), stall(400)];
        let told = worst(&stalls).map(ToString::to_string);
        assert_eq!(told.as_deref(), Some("a sync of one block took 1890 ms at second 13"));
        assert_eq!(worst(&[]), None);
    }
}
