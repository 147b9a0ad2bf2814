//! What a replica remembers of the log: how far it has seen each keyspace come.
//! As text it is kept in the notebook, and told to other replicas.

use std::{collections::BTreeMap, fmt};

use engine::{Epoch, Head, Seq};
use kv::{KeyspaceName, Revision};

const FORMAT: &str = "polis high water 1";

/// How far one keyspace has come. Nothing in it ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub epoch: Epoch,
    pub seq: Seq,
    pub revision: Revision,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Zero until a board was seen.
    pub cluster_id: u64,
    pub marks: BTreeMap<KeyspaceName, Mark>,
}

// === impl Memory ===

impl Memory {
    /// All of it or nothing: what was cut short is not believed.
    pub fn parse(text: &str) -> Option<Memory> {
        let rest = text.strip_prefix(FORMAT)?.strip_prefix("\ncluster ")?.strip_suffix("end\n")?;
        let mut lines = rest.lines();
        let cluster_id = u64::from_str_radix(lines.next()?, 16).ok()?;
        let mark = |line: &str| {
            let mut words = line.split(' ');
            let name = KeyspaceName::new(words.next()?).ok()?;
            let mut number = || words.next()?.parse().ok();
            let mark = Mark {
                epoch: Epoch(number()?),
                seq: Seq(number()?),
                revision: Revision(number()?),
            };
            Some((name, mark))
        };
        Some(Memory { cluster_id, marks: lines.map(mark).collect::<Option<_>>()? })
    }

    /// Adds what was seen by somebody else, if it was of the same cluster: that
    /// of one who has not heard of a recovery counts no more. Whether anything
    /// is new in it.
    pub fn learn(&mut self, told: &Memory) -> bool {
        if told.cluster_id != self.cluster_id {
            return false;
        }
        let mut is_new = false;
        for (name, told) in &told.marks {
            let known = self.marks.entry(name.clone()).or_default();
            is_new |= known.is_behind(*told);
            *known = known.furthest(*told);
        }
        is_new
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\ncluster {:016x}", self.cluster_id)?;
        for (name, Mark { epoch, seq, revision }) in &self.marks {
            writeln!(f, "{name} {epoch} {seq} {revision}")?;
        }
        f.write_str("end\n")
    }
}

// === impl Mark ===

impl Mark {
    pub fn of(head: &Head) -> Mark {
        Mark { epoch: head.epoch, seq: head.seq, revision: head.revision }
    }

    pub fn is_behind(self, known: Mark) -> bool {
        self.epoch < known.epoch || self.seq < known.seq || self.revision < known.revision
    }

    /// Of two of one log.
    pub fn furthest(self, other: Mark) -> Mark {
        Mark {
            epoch: self.epoch.max(other.epoch),
            seq: self.seq.max(other.seq),
            revision: self.revision.max(other.revision),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { epoch, seq, revision } = self;
        write!(f, "revision {revision} (batch {seq}, epoch {epoch})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(cluster_id: u64, marks: &[(&str, u64, u64, u64)]) -> Memory {
        let mark = |(name, epoch, seq, revision): &(&str, u64, u64, u64)| {
            let name = KeyspaceName::new(name).expect("a name");
            let mark = Mark { epoch: Epoch(*epoch), seq: Seq(*seq), revision: Revision(*revision) };
            (name, mark)
        };
        Memory { cluster_id, marks: marks.iter().map(mark).collect() }
    }

    #[test]
    fn what_was_told_is_read_and_nothing_less() {
        let told = memory(1, &[("ledger-00", 3, 20, 15), ("ledger-01", 1, 1, 1)]);
        let text = told.to_string();
        assert_eq!(Memory::parse(&text), Some(told));
        assert!((0..text.len()).all(|end| Memory::parse(&text[..end]).is_none()));
    }

    #[test]
    fn others_know_more_of_this_cluster_and_nothing_of_it_from_another() {
        let mut ours = memory(1, &[("ledger-00", 3, 20, 15)]);
        assert!(!ours.learn(&memory(2, &[("ledger-00", 9, 99, 99)])));
        assert!(!ours.learn(&memory(1, &[("ledger-00", 3, 20, 15)])));
        assert!(ours.learn(&memory(1, &[("ledger-00", 2, 22, 15), ("ledger-01", 1, 2, 3)])));
        assert_eq!(ours, memory(1, &[("ledger-00", 3, 22, 15), ("ledger-01", 1, 2, 3)]));
    }
}
