//! What is done to processes on purpose, and undone.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use tokio::time::Instant;

use super::{Notice, Slot, Standing, State, Supervisor};
use crate::up::{
    database_node::DatabaseNode,
    disk,
    fault::{DATABASE, Fault, Part, STORE},
    network::Network,
};

impl Supervisor {
    pub(super) fn inject(&mut self, fault: &Fault, until: Instant) -> anyhow::Result<()> {
        for name in fault.names() {
            match Part::of(name) {
                Some(part) if self.processes_of_part(part).is_empty() => {
                    let code = errors::DRILL_TARGET;
                    bail!("{code}: no process {part} runs here. {}", code.remedy());
                }
                None if !self.programs.contains_key(name) => {
                    bail!("{name:?} is no center and no process of this estate");
                }
                _ => {}
            }
        }
        self.signal_nodes(fault, Signal::KILL, Signal::STOP);
        self.signal_parts(fault, Signal::KILL, Signal::STOP);
        match fault {
            Fault::Kill { .. } => self.slots_of(fault).for_each(|slot| {
                slot.signal_tree(Signal::KILL);
                slot.state = State::Down;
            }),
            Fault::Pause { .. } => self.slots_of(fault).for_each(|slot| slot.pause(true)),
            Fault::Cut(cut) => match fault.parts().next() {
                None => self.lines()?.cut(cut)?,
                Some(part) => {
                    let namespace = self.lines()?.namespace(part.center);
                    let processes = self.processes_of_part(part);
                    self.alone.begin(&part.to_string(), &processes, namespace, cut.direction)?;
                }
            },
            Fault::SlowLine { names, kbit } => self.lines()?.slow(names, *kbit)?,
            Fault::Delay(delay) => self.lines()?.lengthen(delay)?,
            Fault::SlowDisk { writes, .. } => {
                let hit = self.processes_of(fault);
                let folders: Vec<_> = fault.names().iter().map(|name| self.folder(name)).collect();
                self.slow_disk.begin(&hit, &folders, *writes)?;
            }
            Fault::FullDisk { names } => {
                names.iter().try_for_each(|name| disk::fill(&self.folder(name)))?;
            }
            Fault::Skew { names, seconds } => {
                let code = errors::DRILL_CLOCKS;
                let clocks = self.clocks.as_ref().with_context(|| {
                    format!("{code}: all clocks are this machine's. {}", code.remedy())
                })?;
                names.iter().try_for_each(|name| clocks.set(name, *seconds))?;
            }
        }
        self.standing.push(Standing { fault: fault.clone(), until });
        Ok(())
    }

    pub(super) fn heal(&mut self, fault: &Fault) -> anyhow::Result<()> {
        self.standing.retain(|standing| standing.fault != *fault);
        if let Fault::Pause { .. } = fault {
            self.signal_nodes(fault, Signal::CONT, Signal::CONT);
            self.signal_parts(fault, Signal::CONT, Signal::CONT);
        }
        match fault {
            Fault::Kill { .. } => self.start_all(fault),
            Fault::Pause { .. } => {
                self.slots_of(fault).for_each(|slot| slot.pause(false));
                Ok(())
            }
            Fault::Cut(cut) => match fault.parts().next() {
                None => self.network.as_mut().map_or(Ok(()), |network| network.heal(cut)),
                Some(part) => self.alone.end(&part.to_string()),
            },
            Fault::SlowLine { names, .. } => {
                self.network.as_mut().map_or(Ok(()), |network| network.hasten(names))
            }
            Fault::Delay(delay) => {
                self.network.as_mut().map_or(Ok(()), |network| network.shorten(&delay.centers))
            }
            Fault::SlowDisk { .. } => self.slow_disk.end(),
            Fault::FullDisk { names } => {
                names.iter().try_for_each(|name| disk::empty(&self.folder(name)))?;
                // What could not live without room need not wait for its turn.
                self.start_all(fault)
            }
            Fault::Skew { names, .. } => {
                let mut clocks = self.clocks.iter();
                clocks.try_for_each(|clocks| names.iter().try_for_each(|name| clocks.set(name, 0)))
            }
        }
    }

    pub(super) fn heal_due(&mut self) -> Option<Notice> {
        let now = Instant::now();
        let due = self.standing.iter().find(|standing| standing.until <= now)?.fault.clone();
        if let Err(error) = self.heal(&due) {
            tracing::error!(error = format!("{error:#}"), ?due, "cannot heal a fault");
        }
        Some(Notice::Healed { fault: format!("{due:?}") })
    }

    fn start_all(&mut self, fault: &Fault) -> anyhow::Result<()> {
        let exited = self.exited.clone();
        self.slots_of(fault).try_for_each(|slot| match slot.state {
            State::Running { .. } => Ok(()),
            State::Down | State::Waiting { .. } => slot.start(&exited),
        })?;
        // One that was hit alone would be started by itself, after a pause.
        for part in fault.parts() {
            let mut waiting = self.programs.values_mut().filter(|slot| {
                slot.is_in(part.center) && matches!(slot.state, State::Waiting { .. })
            });
            waiting.try_for_each(|slot| slot.start(&exited))?;
        }
        Ok(())
    }

    fn lines(&mut self) -> anyhow::Result<&mut Network> {
        let code = errors::DRILL_NETWORK;
        let none = || format!("{code}: centers share one network. {}", code.remedy());
        self.network.as_mut().with_context(none)
    }

    /// Where a process keeps what it must not lose.
    fn folder(&self, name: &str) -> PathBuf {
        match Part::of(name) {
            None if name == STORE => self.data.store(),
            None => self.data.center(name),
            Some(Part { center, program: DATABASE }) => {
                // The only place of its that we know.
                let mut files = self.nodes_of(center).filter_map(|node| node.pid_file.parent());
                files.next().map_or_else(|| self.data.center(center), Path::to_path_buf)
            }
            Some(Part { center, .. }) => self.data.center(center),
        }
    }

    fn signal_nodes(&self, fault: &Fault, killed: Signal, paused: Signal) {
        // Their lines are those of the networks that they stand in, and they
        // have no clocks of their own.
        let Some(signal) = signal_of(fault, killed, paused) else { return };
        let hit = self.nodes.iter().filter(|node| fault.names().contains(&node.center));
        hit.for_each(|node| node.signal(signal));
    }

    /// One that was killed is started again by whoever looks after it.
    fn signal_parts(&self, fault: &Fault, killed: Signal, paused: Signal) {
        let Some(signal) = signal_of(fault, killed, paused) else { return };
        for part in fault.parts() {
            if part.program == DATABASE {
                self.nodes_of(part.center).for_each(|node| node.signal(signal));
                continue;
            }
            for process in self.processes_of_part(part) {
                // One that has just ended needs none.
                let _ = rustix::process::kill_process(process, signal);
            }
        }
    }

    /// All processes that are hit, of the database's nodes too.
    fn processes_of(&mut self, fault: &Fault) -> Vec<Pid> {
        let mut hit: Vec<_> = self.slots_of(fault).flat_map(|slot| slot.processes()).collect();
        let nodes = self.nodes.iter().filter(|node| fault.names().contains(&node.center));
        hit.extend(nodes.filter_map(|node| node.process().ok()));
        hit.extend(fault.parts().flat_map(|part| self.processes_of_part(part)));
        hit
    }

    fn processes_of_part(&self, part: Part<'_>) -> Vec<Pid> {
        let name = part.to_string();
        let parts = self.parts().into_iter();
        parts.filter(|(here, _)| *here == name).map(|(_, process)| process).collect()
    }

    /// Every single process that can be hit, by the name of its [`Part`].
    pub(super) fn parts(&self) -> Vec<(String, Pid)> {
        let named = |center: &str, program: &str| Part { center, program }.to_string();
        let of_slot = |slot: &Slot| {
            let center = slot.center.clone().unwrap_or_default();
            let parts = slot.parts().into_iter();
            parts.map(|(program, pid)| (named(&center, &program), pid)).collect::<Vec<_>>()
        };
        let in_centers = self.programs.values().filter(|slot| slot.center.is_some());
        let of_node = |node: &DatabaseNode| {
            node.process().ok().map(|process| (named(&node.center, DATABASE), process))
        };
        in_centers.flat_map(of_slot).chain(self.nodes.iter().filter_map(of_node)).collect()
    }

    fn nodes_of(&self, center: &str) -> impl Iterator<Item = &DatabaseNode> {
        self.nodes.iter().filter(move |node| node.center == center)
    }

    fn slots_of<'a>(&'a mut self, fault: &'a Fault) -> impl Iterator<Item = &'a mut Slot> {
        let names = fault.names();
        let hit = |slot: &&mut Slot| {
            let center = slot.center.as_ref();
            center.is_some_and(|center| names.contains(center))
                || names.contains(&slot.program.name)
        };
        self.programs.values_mut().filter(hit)
    }
}

fn signal_of(fault: &Fault, killed: Signal, paused: Signal) -> Option<Signal> {
    match fault {
        Fault::Kill { .. } => Some(killed),
        Fault::Pause { .. } => Some(paused),
        _ => None,
    }
}
