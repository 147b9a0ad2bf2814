//! Keeps the processes of an estate running, and injects faults on request.
//!
//! A process that ends by itself is started again with growing pauses; one
//! that was killed through the control socket stays down until it is started.

mod faults;

use std::{collections::BTreeMap, time::Duration};

use rt::{backoff::Backoff, random::Random};
use rustix::process::{Pid, Signal};
use tokio::{process::Child, sync::mpsc, time::Instant};

use super::{
    clock,
    control::{Answer, Call, ProcessInfo, ProcessState, Request},
    database_node::DatabaseNode,
    disk::SlowDisk,
    fault::{Fault, SERVER},
    network::{Network, alone::Alone},
    process::{Process, Program, program_of, stands_still},
};
use crate::data::DataDir;

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
    data: DataDir,
    programs: BTreeMap<String, Slot>,
    exits: mpsc::Receiver<Exit>,
    exited: mpsc::Sender<Exit>,
    /// If centers have networks of their own.
    network: Option<Network>,
    /// If their clocks can be set wrong.
    clocks: Option<clock::Library>,
    slow_disk: SlowDisk,
    alone: Alone,
    /// Not ours to start: only what is done to their centers is done to them.
    nodes: Vec<DatabaseNode>,
    standing: Vec<Standing>,
}

/// A fault that has been injected, and when it heals by itself.
struct Standing {
    fault: Fault,
    until: Instant,
}

struct Slot {
    program: Program,
    /// To which center it belongs, and what happens to that happens to it. The
    /// store stands for the database, and is in none.
    center: Option<String>,
    state: State,
    backoff: Backoff,
    started: Instant,
    /// Since when it is to end for good.
    ends_since: Option<Instant>,
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
    Ended {
        name: String,
        status: String,
        log: String,
    },
    /// A fault whose time was over before anyone healed it.
    Healed {
        fault: String,
    },
}

// === impl Supervisor ===

impl Supervisor {
    #[must_use]
    pub fn new(
        data: &DataDir,
        network: Option<Network>,
        clocks: Option<clock::Library>,
        nodes: Vec<DatabaseNode>,
    ) -> Supervisor {
        let (exited, exits) = mpsc::channel(EXITS_MAX);
        Supervisor {
            data: data.clone(),
            programs: BTreeMap::new(),
            exits,
            exited,
            network,
            clocks,
            slow_disk: SlowDisk::new(data.path()),
            alone: Alone::new(data.path()),
            nodes,
            standing: Vec::new(),
        }
    }

    /// Starts a process and keeps it. One that is kept already is left alone.
    pub fn add(&mut self, mut program: Program, center: Option<&str>) -> anyhow::Result<()> {
        let name = program.name.clone();
        if self.programs.contains_key(&name) {
            return Ok(());
        }
        let place = center.unwrap_or(&name);
        program.network = self.network.as_ref().map(|network| network.namespace(place));
        program.envs.extend(self.clocks.iter().flat_map(|clocks| clocks.envs(place)));
        let first = if center.is_some() { CENTER_RESTART_FIRST } else { STORE_RESTART_FIRST };
        let backoff = Backoff::new(first, RESTART_MAX, Random::from_entropy());
        let (started, ends_since) = (Instant::now(), None);
        let center = center.map(ToOwned::to_owned);
        let state = State::Down;
        let mut slot = Slot { program, center, state, backoff, started, ends_since, run: 0 };
        // In a center that was killed nothing is started.
        let home = slot.center.as_ref().and_then(|center| self.programs.get(center));
        if !home.is_some_and(|home| matches!(home.state, State::Down)) {
            slot.start(&self.exited)?;
        }
        self.programs.insert(name, slot);
        Ok(())
    }

    /// Asks a process to end and forgets it then; to be asked again until it is
    /// no longer listed.
    fn end(&mut self, name: &str) {
        let Some(slot) = self.programs.get_mut(name) else { return };
        if !matches!(slot.state, State::Running { .. }) {
            self.programs.remove(name);
            return;
        }
        let since = *slot.ends_since.get_or_insert_with(Instant::now);
        if since.elapsed() > STOP_DEADLINE {
            slot.signal_tree(Signal::KILL);
        } else {
            slot.signal_tree(Signal::CONT);
            slot.signal(Signal::TERM);
        }
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
        let next_healing = self.standing.iter().map(|standing| standing.until).min();
        let healing = async {
            match next_healing {
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
            () = healing => self.heal_due(),
        }
    }

    /// SIGTERM to what is in a center or to the others, then SIGKILL.
    pub async fn stop(&mut self, in_centers: bool) {
        let deadline = Instant::now() + STOP_DEADLINE;
        let running = |slot: &Slot| {
            slot.center.is_some() == in_centers && matches!(slot.state, State::Running { .. })
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
        if slot.ends_since.is_some() {
            self.programs.remove(&exit.name);
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
        let done = match request {
            Request::List => Ok(()),
            Request::Inject { fault, heal_after_ms } => {
                let until = Instant::now() + Duration::from_millis(*heal_after_ms);
                self.inject(fault, until)
            }
            Request::Heal { fault } => self.heal(fault),
            Request::Start { program, center } => self.add(program.clone(), Some(center)),
            Request::End { name } => {
                self.end(name);
                Ok(())
            }
        };
        match done {
            Ok(()) => Answer::Ok(self.list()),
            Err(error) => Answer::Error(format!("{error:#}")),
        }
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
        let alone = |(name, pid): (String, Pid)| ProcessInfo {
            name,
            pid: Some(pid.as_raw_nonzero().get().cast_unsigned()),
            state: if stands_still(pid) { ProcessState::Paused } else { ProcessState::Running },
        };
        let parts = self.parts().into_iter().map(alone);
        self.programs.iter().map(info).chain(parts).collect()
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

    /// Itself and all that it started.
    fn processes(&self) -> Vec<Pid> {
        match &self.state {
            State::Running { process, .. } => {
                process.below().into_iter().chain([process.pid]).collect()
            }
            State::Down | State::Waiting { .. } => Vec::new(),
        }
    }

    fn is_in(&self, center: &str) -> bool {
        self.center.as_deref() == Some(center)
    }

    /// Its processes with what they are called in a fault: what they run, or the
    /// name of a rented unit.
    fn parts(&self) -> Vec<(String, Pid)> {
        let State::Running { process, .. } = &self.state else { return Vec::new() };
        let Program { name, args, .. } = &self.program;
        let runs = args.first().unwrap_or(name);
        let rented = runs == SERVER && !self.is_in(name);
        let own = if rented { name } else { runs };
        let below = process.below().into_iter().filter_map(|pid| Some((program_of(pid)?, pid)));
        below.chain([(own.clone(), process.pid)]).collect()
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
