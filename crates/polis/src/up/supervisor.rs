//! Keeps the processes of an estate running, and injects faults on request.
//!
//! A process that ends by itself is started again with growing pauses; one
//! that was killed through the control socket stays down until it is started.

use std::{collections::BTreeMap, time::Duration};

use rt::{backoff::Backoff, random::Random};
use rustix::process::Signal;
use tokio::{process::Child, sync::mpsc, time::Instant};

use super::{
    control::{Answer, Call, ProcessInfo, ProcessState, Request},
    process::{Process, Program},
};

/// First pause before a crashed center is started again. Longer than a failover
/// takes, so that a crash is seen as what it is.
const CENTER_RESTART_FIRST: Duration = Duration::from_secs(3);
/// Nobody takes over from the store: the sooner it is back, the better.
const STORE_RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(30);

/// Whoever ran this long did not crash because it was started too soon.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// How long a process may take to drain before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Exits that may wait to be noticed; there are fewer processes than this.
const EXITS_MAX: usize = 64;

pub struct Supervisor {
    programs: BTreeMap<String, Slot>,
    exits: mpsc::Receiver<Exit>,
    exited: mpsc::Sender<Exit>,
}

struct Slot {
    program: Program,
    /// Centers can be killed by drills; the store stands for the database.
    is_center: bool,
    state: State,
    backoff: Backoff,
    started: Instant,
    /// Tells a late exit of an earlier run from one of this run.
    run: u64,
}

enum State {
    Running { process: Process, paused: bool },
    Down,
    Waiting { until: Instant },
}

struct Exit {
    name: String,
    run: u64,
    status: String,
}

/// What a person should hear about.
pub enum Notice {
    Ended { name: String, status: String, log: String },
}

// === impl Supervisor ===

impl Supervisor {
    #[must_use]
    pub fn new() -> Supervisor {
        let (exited, exits) = mpsc::channel(EXITS_MAX);
        Supervisor { programs: BTreeMap::new(), exits, exited }
    }

    /// Starts a process and keeps it.
    pub fn add(&mut self, program: Program, is_center: bool) -> anyhow::Result<()> {
        let name = program.name.clone();
        let first = if is_center { CENTER_RESTART_FIRST } else { STORE_RESTART_FIRST };
        let backoff = Backoff::new(first, RESTART_MAX, Random::from_entropy());
        let started = Instant::now();
        let mut slot = Slot { program, is_center, state: State::Down, backoff, started, run: 0 };
        slot.start(&self.exited)?;
        self.programs.insert(name, slot);
        Ok(())
    }

    /// Waits for the next thing to do and does it. Cancel-safe.
    pub async fn step(&mut self, calls: &mut mpsc::Receiver<Call>) -> Option<Notice> {
        let next_restart = self.programs.values().filter_map(Slot::restart_at).min();
        let restart = async {
            match next_restart {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(exit) = self.exits.recv() => self.ended(exit),
            Some(call) = calls.recv() => {
                let answer = self.answer(&call.request);
                // Whoever asked may have gone; what was asked is done.
                let _ = call.answer.send(answer);
                None
            }
            () = restart => {
                self.restart_due();
                None
            }
        }
    }

    /// SIGTERM to `is_center` processes or the others, then SIGKILL.
    pub async fn stop(&mut self, is_center: bool) {
        let deadline = Instant::now() + STOP_DEADLINE;
        let running = |slot: &Slot| {
            slot.is_center == is_center && matches!(slot.state, State::Running { .. })
        };
        for slot in self.programs.values().filter(|slot| running(slot)) {
            // A paused one could not drain; its Pods drain with it.
            slot.signal_tree(Signal::CONT);
            slot.signal(Signal::TERM);
        }
        while self.programs.values().any(running) {
            tokio::select! {
                Some(exit) = self.exits.recv() => { self.mark_down(&exit); }
                () = tokio::time::sleep_until(deadline) => {
                    for (name, slot) in self.programs.iter_mut().filter(|(_, slot)| running(slot)) {
                        tracing::warn!(name, "did not stop in time; killing it");
                        slot.signal_tree(Signal::KILL);
                        slot.state = State::Down;
                    }
                }
            }
        }
    }

    fn mark_down(&mut self, exit: &Exit) {
        if let Some(slot) = self.programs.get_mut(&exit.name).filter(|slot| slot.run == exit.run) {
            slot.state = State::Down;
        }
    }

    fn ended(&mut self, exit: Exit) -> Option<Notice> {
        let slot = self.programs.get_mut(&exit.name)?;
        if slot.run != exit.run || !matches!(slot.state, State::Running { .. }) {
            return None;
        }
        if slot.started.elapsed() > STEADY_AFTER {
            slot.backoff.reset();
        }
        slot.state = State::Waiting { until: Instant::now() + slot.backoff.step() };
        let log = slot.program.log.display().to_string();
        Some(Notice::Ended { name: exit.name, status: exit.status, log })
    }

    fn restart_due(&mut self) {
        let now = Instant::now();
        for (name, slot) in &mut self.programs {
            if slot.restart_at().is_some_and(|at| at <= now)
                && let Err(error) = slot.start(&self.exited)
            {
                tracing::error!(name, error = format!("{error:#}"), "cannot start again");
                slot.state = State::Waiting { until: now + slot.backoff.step() };
            }
        }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let centers = match request {
            Request::List => return Answer::Ok(self.list()),
            Request::Kill { centers }
            | Request::Pause { centers }
            | Request::Resume { centers }
            | Request::Start { centers } => centers,
        };
        for name in centers {
            if !self.programs.get(name).is_some_and(|slot| slot.is_center) {
                return Answer::Error(format!("{name:?} is no center of this estate"));
            }
        }
        let exited = &self.exited;
        for (_, slot) in self.programs.iter_mut().filter(|(name, _)| centers.contains(name)) {
            let done = match request {
                Request::List => Ok(()),
                Request::Kill { .. } => {
                    slot.signal_tree(Signal::KILL);
                    slot.state = State::Down;
                    Ok(())
                }
                Request::Pause { .. } => {
                    slot.pause(true);
                    Ok(())
                }
                Request::Resume { .. } => {
                    slot.pause(false);
                    Ok(())
                }
                Request::Start { .. } => match slot.state {
                    State::Running { .. } => Ok(()),
                    State::Down | State::Waiting { .. } => slot.start(exited),
                },
            };
            if let Err(error) = done {
                return Answer::Error(format!("{error:#}"));
            }
        }
        Answer::Ok(self.list())
    }

    fn list(&self) -> Vec<ProcessInfo> {
        let info = |(name, slot): (&String, &Slot)| ProcessInfo {
            name: name.clone(),
            pid: match &slot.state {
                State::Running { process, .. } => {
                    Some(process.pid.as_raw_nonzero().get().cast_unsigned())
                }
                State::Down | State::Waiting { .. } => None,
            },
            state: match &slot.state {
                State::Running { paused: false, .. } => ProcessState::Running,
                State::Running { paused: true, .. } => ProcessState::Paused,
                State::Down => ProcessState::Down,
                State::Waiting { .. } => ProcessState::Restarting,
            },
        };
        self.programs.iter().map(info).collect()
    }
}

// === impl Slot ===

impl Slot {
    fn start(&mut self, exited: &mpsc::Sender<Exit>) -> anyhow::Result<()> {
        let (process, child) = self.program.start()?;
        self.run += 1;
        self.started = Instant::now();
        let (name, run, exited) = (self.program.name.clone(), self.run, exited.clone());
        tokio::spawn(async move {
            let status = wait(child).await;
            // Nobody listens any more once everything is being torn down.
            let _ = exited.send(Exit { name, run, status }).await;
        });
        self.state = State::Running { process, paused: false };
        Ok(())
    }

    fn restart_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Running { .. } | State::Down => None,
        }
    }

    fn signal(&self, signal: Signal) {
        if let State::Running { process, .. } = &self.state {
            process.signal(signal);
        }
    }

    fn signal_tree(&self, signal: Signal) {
        if let State::Running { process, .. } = &self.state {
            process.signal_tree(signal);
        }
    }

    fn pause(&mut self, pause: bool) {
        if let State::Running { process, paused } = &mut self.state {
            process.signal_tree(if pause { Signal::STOP } else { Signal::CONT });
            *paused = pause;
        }
    }
}

async fn wait(mut child: Child) -> String {
    match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
