//! The furthest that this replica has seen each keyspace come, also before it
//! was started: a log that has come less far has lost what was acknowledged.
//!
//! A restored backup and a cluster that lost its newest commits both look like
//! a healthy database. Served as they are, they would give clients revisions
//! that they have seen before, with other contents; so nothing of such a
//! keyspace is served until a person accepts the loss.

use std::{collections::BTreeMap, io};

use engine::Board;
use kv::KeyspaceName;

use super::{
    memory::{Mark, Memory},
    situation::head,
};
use crate::{Loss, Notebook};

/// Why nothing may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "{}: the database stands at {found}, but replicas have seen {known}. {}",
        errors::STORE_DATABASE_OLDER,
        errors::STORE_DATABASE_OLDER.remedy()
    )]
    Older { known: Mark, found: Mark },
    #[error(
        "{}: the database is cluster {found:016x}, but this replica belongs to {known:016x}. {}",
        errors::STORE_DATABASE_OTHER,
        errors::STORE_DATABASE_OTHER.remedy()
    )]
    OtherCluster { known: u64, found: u64 },
}

#[derive(Debug, Default)]
pub(crate) struct HighWater {
    notebook: Notebook,
    memory: Memory,
    /// For as long as the process lives: a log that went back and forth is not
    /// the one that we knew, however far it has come since.
    refusals: BTreeMap<KeyspaceName, Refusal>,
    other_cluster: Option<Refusal>,
    unsaved: bool,
}

// === impl HighWater ===

impl HighWater {
    /// What was remembered before; nothing, if nothing was.
    pub fn open(notebook: Notebook) -> io::Result<HighWater> {
        let mut high_water = HighWater { notebook, ..HighWater::default() };
        if let Some(text) = high_water.notebook.read()? {
            high_water.memory = Memory::parse(&text)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not understood"))?;
        }
        Ok(high_water)
    }

    /// Compares a board with what we know and were told before it was read, and
    /// remembers what is new in it. Returns what is refused from now on and was
    /// not before.
    pub fn see(&mut self, board: &Board, told: &[Memory]) -> Vec<(Option<KeyspaceName>, Refusal)> {
        if self.memory.cluster_id == 0 {
            self.memory.cluster_id = board.cluster_id;
            self.unsaved = true;
        }
        for told in told {
            self.unsaved |= self.memory.learn(told);
        }
        if self.memory.cluster_id != board.cluster_id {
            let (known, found) = (self.memory.cluster_id, board.cluster_id);
            let refusal = Refusal::OtherCluster { known, found };
            let before = self.other_cluster.replace(refusal);
            return before.is_none().then_some((None, refusal)).into_iter().collect();
        }
        let mut found: BTreeMap<_, _> =
            self.memory.marks.keys().map(|name| (name.clone(), Mark::default())).collect();
        found.extend(board.heads.iter().map(|head| (head.keyspace.clone(), Mark::of(head))));
        let mut news = Vec::new();
        for (name, found) in found {
            let known = self.memory.marks.entry(name.clone()).or_default();
            if found.is_behind(*known) {
                let refusal = Refusal::Older { known: *known, found };
                if self.refusals.insert(name.clone(), refusal).is_none() {
                    news.push((Some(name), refusal));
                }
            } else if *known != found {
                *known = found;
                self.unsaved = true;
            }
        }
        news
    }

    /// Of cluster zero, if nothing is remembered.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What stands further back on this board than it was seen.
    pub fn behind<'a>(&'a self, board: &'a Board) -> impl Iterator<Item = Loss> + 'a {
        self.memory.marks.iter().filter_map(|(keyspace, seen)| {
            let head = head(board, keyspace);
            let found = head.map(Mark::of).unwrap_or_default();
            found.is_behind(*seen).then(|| Loss {
                keyspace: keyspace.clone(),
                seen: (seen.epoch, seen.seq, seen.revision),
                found: (found.epoch, found.seq, found.revision),
            })
        })
    }

    pub fn refusal(&self, keyspace: &KeyspaceName) -> Option<Refusal> {
        self.other_cluster.or_else(|| self.refusals.get(keyspace).copied())
    }

    /// To be tried again.
    pub fn not_saved(&mut self) {
        self.unsaved = true;
    }

    /// Where to write what, if there is something new.
    pub fn take_unsaved(&mut self) -> Option<(Notebook, String)> {
        std::mem::take(&mut self.unsaved).then(|| (self.notebook.clone(), self.memory.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use engine::{Epoch, Head, Seq};
    use kv::Revision;

    use super::*;

    fn board(cluster_id: u64, heads: &[(&str, u64, u64, u64)]) -> Board {
        let head = |(name, epoch, seq, revision): &(&str, u64, u64, u64)| Head {
            keyspace: name.parse_name(),
            epoch: Epoch(*epoch),
            leader: None,
            seq: Seq(*seq),
            revision: Revision(*revision),
        };
        Board { cluster_id, replicas: Vec::new(), heads: heads.iter().map(head).collect() }
    }

    trait ParseName {
        fn parse_name(&self) -> KeyspaceName;
    }

    impl ParseName for &str {
        fn parse_name(&self) -> KeyspaceName {
            KeyspaceName::new(self).expect("a name")
        }
    }

    /// Whether `after` is refused by who saw `before`, in life, after a start, and
    /// by who was only told of it.
    fn refused(before: &Board, after: &Board) -> bool {
        let mut alive = HighWater::default();
        assert!(alive.see(before, &[]).is_empty());
        let memory = Memory::parse(&alive.memory.to_string()).expect("what was written is read");
        let mut told = HighWater::default();
        let _ = told.see(&Board { heads: Vec::new(), ..before.clone() }, &[]);
        let what = [memory.clone()];
        let mut started = HighWater { memory, ..HighWater::default() };
        let name = "ledger-00".parse_name();
        let verdicts = [(&mut alive, &[][..]), (&mut started, &[]), (&mut told, &what)];
        let verdicts = verdicts.map(|(high_water, told)| {
            let _ = high_water.see(after, told);
            high_water.refusal(&name).is_some()
        });
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{verdicts:?}");
        verdicts[0]
    }

    #[test]
    fn whatever_goes_back_is_refused() {
        let seen = board(1, &[("ledger-00", 3, 20, 15), ("ledger-01", 1, 1, 1)]);
        for (later, verdict) in [
            (seen.clone(), false),
            (board(1, &[("ledger-00", 4, 21, 16), ("ledger-01", 1, 1, 1)]), false),
            (board(1, &[("ledger-00", 3, 20, 14), ("ledger-01", 1, 1, 1)]), true),
            (board(1, &[("ledger-00", 3, 19, 15), ("ledger-01", 1, 1, 1)]), true),
            (board(1, &[("ledger-00", 2, 30, 30), ("ledger-01", 1, 1, 1)]), true),
            (board(1, &[("ledger-00", 3, 20, 15)]), false),
            (board(1, &[("ledger-01", 1, 1, 1)]), true),
            (board(2, &[("ledger-00", 9, 99, 99), ("ledger-01", 1, 1, 1)]), true),
        ] {
            assert_eq!(refused(&seen, &later), verdict, "{later:?}");
        }
    }

    #[test]
    fn a_log_that_went_back_and_grew_again_stays_refused() {
        let mut high_water = HighWater::default();
        let _ = high_water.see(&board(1, &[("ledger-00", 3, 20, 15)]), &[]);
        let news = high_water.see(&board(1, &[("ledger-00", 3, 18, 13)]), &[]);
        let said = news[0].1.to_string();
        assert!(said.contains("revision 13 (") && said.contains("revision 15 ("), "{said}");
        assert!(
            high_water.see(&board(1, &[("ledger-00", 4, 30, 30)]), &[]).is_empty(),
            "said once"
        );
        assert!(high_water.refusal(&"ledger-00".parse_name()).is_some());
    }

    #[test]
    fn what_was_saved_is_found_again() {
        let folder = std::env::temp_dir().join(format!("polis-high-water-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("high-water");
        let notebook = Notebook::File(path);
        let mut first = HighWater::open(notebook.clone()).expect("no file yet");
        let _ = first.see(&board(5, &[("ledger-00", 3, 20, 15)]), &[]);
        let (to, text) = first.take_unsaved().expect("something new");
        to.write(&text).expect("saved");
        assert!(first.take_unsaved().is_none());
        let mut second = HighWater::open(notebook.clone()).expect("the file");
        assert_eq!(second.see(&board(5, &[("ledger-00", 3, 19, 15)]), &[]).len(), 1);
        notebook.forget().expect("removed");
        assert_eq!(HighWater::open(notebook).expect("no file").memory().cluster_id, 0);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
