//! A database that comes back older than it was, and the person who recovers.
//!
//! Backups are taken all the time. At the ruin one comes back that lies behind
//! what every replica remembers on its disk, or what one of them does while the
//! others have lost their disks: this is what is promised to be refused, as long
//! as they reach each other. (If all forget, nobody can know.) Then the replicas
//! are stopped, each is told to accept the loss, and all goes on.

use std::collections::VecDeque;

use store::{Finding, Notebook, Recovery};

use crate::{
    database::Tables,
    host::Host,
    recorder::{Recorder, Stretch},
};

const BACKUP_EVERY_MS: u64 = 400;
/// Those of the last ten seconds.
const BACKUPS_MAX: usize = 25;

/// Every replica is asked once more than there can be surprises.
const ROUNDS: usize = 2;

/// As replicas report it.
pub const CODE: &str = "PLS0130";

#[derive(Default)]
pub struct Backups {
    taken: VecDeque<(u64, Tables)>,
    due_ms: u64,
}

/// What a person does after a ruin.
pub struct Person<'a> {
    pub host: &'a Host,
    pub tables: &'a Tables,
    pub recorder: &'a Recorder,
    pub notebooks: Vec<Notebook>,
    /// The only replica that keeps its disk, if only one does.
    pub survivor: Option<usize>,
}

// === impl Backups ===

impl Backups {
    pub fn step(&mut self, now_ms: u64, tables: &Tables) {
        if now_ms < self.due_ms {
            return;
        }
        self.due_ms = now_ms + BACKUP_EVERY_MS;
        self.taken.push_back((now_ms, tables.backup()));
        if self.taken.len() > BACKUPS_MAX {
            self.taken.pop_front();
        }
    }

    /// The newest that nobody who remembers can take for what was lost comes
    /// back.
    pub fn ruin(&mut self, person: &Person<'_>) -> Option<u64> {
        let present = person.tables.backup();
        while let Some((taken_ms, backup)) = self.taken.pop_back() {
            person.tables.roll_back(&backup);
            if person.all_find_it_older() {
                return Some(taken_ms);
            }
        }
        person.tables.roll_back(&present);
        None
    }
}

// === impl Person ===

impl Person<'_> {
    fn recovery(&self, notebook: &Notebook) -> Recovery {
        let open = async {
            let sql = self.tables.open(self.recorder).await;
            Recovery::of(notebook.clone(), sql).await
        };
        self.host.block_on(open).expect("nothing goes wrong")
    }

    fn all_find_it_older(&self) -> bool {
        let is_older = |notebook| matches!(self.recovery(notebook).finding(), Finding::Older(_));
        match self.survivor {
            Some(survivor) => is_older(&self.notebooks[survivor]),
            None => self.notebooks.iter().all(is_older),
        }
    }

    /// Accepts the loss at one replica after the other; all of them are
    /// stopped. Returns what is wrong with what came of it.
    pub fn recover(&self, before: &Stretch) -> Vec<String> {
        let mut violations = Vec::new();
        let cluster_id = self.tables.cluster_id();
        let mut recovered = 0;
        for _ in 0..ROUNDS {
            for notebook in &self.notebooks {
                let accept = self.recovery(notebook).accept();
                let done = self.host.block_on(accept).expect("nothing goes wrong");
                recovered += usize::from(done.is_some());
            }
        }
        if recovered != 1 {
            violations.push(format!("recovery: it was made {recovered} times"));
        }
        if self.tables.cluster_id() == cluster_id {
            violations.push("recovery: the cluster has the id it had".into());
        }
        let base = self.host.block_on(self.tables.base(self.recorder));
        let told = before.last_told();
        if base.revision <= told {
            let revision = base.revision;
            violations.push(format!("recovery: revision {told} was told, now it is {revision}"));
        }
        violations
    }
}
