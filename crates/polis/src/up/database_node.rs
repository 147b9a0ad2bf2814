//! Nodes of a database that belong to centers: somebody else runs them, and
//! what happens to a center happens to its node.

use std::{fs, os::fd::OwnedFd, path::PathBuf, str::FromStr};

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::layout::{CenterPlan, Layout};

/// `CENTER=HOST:PORT=PID_FILE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseNode {
    pub center: String,
    pub address: String,
    pub pid_file: PathBuf,
}

// === impl DatabaseNode ===

impl DatabaseNode {
    /// As `polis ledger` takes it: which unit writes through it.
    pub fn for_ledger(&self, layout: &Layout) -> anyhow::Result<String> {
        Ok(format!("{}={}", self.plan(layout)?.unit, self.address))
    }

    /// As `polis guardian` takes it: a member is called as its center is.
    pub fn for_guardian(&self, layout: &Layout) -> anyhow::Result<String> {
        Ok(format!("{}={}={}", self.center, self.plan(layout)?.city, self.address))
    }

    fn plan<'a>(&self, layout: &'a Layout) -> anyhow::Result<&'a CenterPlan> {
        let mut plans = layout.centers.iter();
        let plan = plans.find(|plan| plan.center.as_str() == self.center);
        plan.with_context(|| {
            format!("--database-node: {:?} is no center of this layout", self.center)
        })
    }

    /// Signals it. One that has ended, or whose number is another's by now, is
    /// left alone.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = self.try_signal(signal) {
            tracing::warn!(center = self.center, error = format!("{error:#}"), "no database node");
        }
    }

    fn try_signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.open()?.1, signal)?)
    }

    /// The process that it is now.
    pub fn process(&self) -> anyhow::Result<Pid> {
        Ok(self.open()?.0)
    }

    fn open(&self) -> anyhow::Result<(Pid, OwnedFd)> {
        let shown = self.pid_file.display().to_string();
        let text = fs::read_to_string(&self.pid_file).with_context(|| format!("read {shown}"))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{shown} holds no process id"))?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        // After it was opened: what it says is of the process that is signalled.
        let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))?;
        anyhow::ensure!(
            String::from_utf8_lossy(&command).contains(&shown),
            "process {} does not name {shown}",
            pid.as_raw_nonzero()
        );
        Ok((pid, pidfd))
    }
}

impl FromStr for DatabaseNode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<DatabaseNode> {
        let mut parts = text.splitn(3, '=');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        match (next(), next(), next()) {
            (Some(center), Some(address), Some(file)) => Ok(DatabaseNode {
                center: center.to_owned(),
                address: address.to_owned(),
                pid_file: file.into(),
            }),
            _ => anyhow::bail!("{text:?} is not CENTER=HOST:PORT=PID_FILE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_name_the_file_is_not_signalled() {
        let file = std::env::temp_dir().join(format!("polis-node-{}", std::process::id()));
        fs::write(&file, std::process::id().to_string()).expect("write a file");
        let node = format!("east-1=127.0.0.1:1={}", file.display());
        let node: DatabaseNode = node.parse().expect("a node");
        let refused = node.try_signal(Signal::KILL).expect_err("it is us");
        assert!(refused.to_string().contains("does not name"), "{refused}");
        fs::remove_file(&file).expect("remove a file");
        assert!("east-1=127.0.0.1:1".parse::<DatabaseNode>().is_err());
    }
}
