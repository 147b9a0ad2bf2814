//! The furthest that this replica has seen each keyspace come, also before it
//! was started: a log that has come less far has lost what was acknowledged.
//!
//! A restored backup and a cluster that lost its newest commits both look like
//! a healthy database. Served as they are, they would give clients revisions
//! that they have seen before, with other contents; so nothing of such a
//! keyspace is served until a person accepts the loss.

use std::{collections::BTreeMap, fmt, io};

use engine::{Board, Epoch, Head, Seq};
use kv::{KeyspaceName, Revision};

use super::situation::head;
use crate::{Loss, Notebook};

const FORMAT: &str = "polis high water 1";

/// How far one keyspace has come. Nothing in it ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub epoch: Epoch,
    pub seq: Seq,
    pub revision: Revision,
}

/// Why nothing may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "{}: the database stands at {found}, but this replica has seen {known}. {}",
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
    /// Zero until a board was seen.
    cluster_id: u64,
    marks: BTreeMap<KeyspaceName, Mark>,
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
            (high_water.cluster_id, high_water.marks) = parse(&text)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not understood"))?;
        }
        Ok(high_water)
    }

    /// Compares a board with what we know, and remembers what is new in it.
    /// Returns what is refused from now on and was not before.
    pub fn see(&mut self, board: &Board) -> Vec<(Option<KeyspaceName>, Refusal)> {
        if self.cluster_id == 0 {
            self.cluster_id = board.cluster_id;
            self.unsaved = true;
        }
        if self.cluster_id != board.cluster_id {
            let (known, found) = (self.cluster_id, board.cluster_id);
            let refusal = Refusal::OtherCluster { known, found };
            let before = self.other_cluster.replace(refusal);
            return before.is_none().then_some((None, refusal)).into_iter().collect();
        }
        let mut found: BTreeMap<_, _> =
            self.marks.keys().map(|name| (name.clone(), Mark::default())).collect();
        found.extend(board.heads.iter().map(|head| (head.keyspace.clone(), Mark::of(head))));
        let mut news = Vec::new();
        for (name, found) in found {
            let known = self.marks.entry(name.clone()).or_default();
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

    /// Zero, if nothing is remembered.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    pub fn marks(&self) -> impl Iterator<Item = (&KeyspaceName, &Mark)> {
        self.marks.iter()
    }

    /// What stands further back on this board than it was seen.
    pub fn behind<'a>(&'a self, board: &'a Board) -> impl Iterator<Item = Loss> + 'a {
        self.marks.iter().filter_map(|(keyspace, seen)| {
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
        std::mem::take(&mut self.unsaved).then(|| (self.notebook.clone(), self.to_string()))
    }
}

impl fmt::Display for HighWater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\ncluster {:016x}", self.cluster_id)?;
        for (name, Mark { epoch, seq, revision }) in &self.marks {
            writeln!(f, "{name} {epoch} {seq} {revision}")?;
        }
        f.write_str("end\n")
    }
}

fn parse(text: &str) -> Option<(u64, BTreeMap<KeyspaceName, Mark>)> {
    let rest = text.strip_prefix(FORMAT)?.strip_prefix("\ncluster ")?.strip_suffix("end\n")?;
    let mut lines = rest.lines();
    let cluster_id = u64::from_str_radix(lines.next()?, 16).ok()?;
    let mark = |line: &str| {
        let mut words = line.split(' ');
        let name = KeyspaceName::new(words.next()?).ok()?;
        let mut number = || words.next()?.parse().ok();
        let mark =
            Mark { epoch: Epoch(number()?), seq: Seq(number()?), revision: Revision(number()?) };
        Some((name, mark))
    };
    Some((cluster_id, lines.map(mark).collect::<Option<_>>()?))
}

// === impl Mark ===

impl Mark {
    fn of(head: &Head) -> Mark {
        Mark { epoch: head.epoch, seq: head.seq, revision: head.revision }
    }

    fn is_behind(self, known: Mark) -> bool {
        self.epoch < known.epoch || self.seq < known.seq || self.revision < known.revision
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

    /// Whether `after` is refused by who saw `before`, in life and after a start.
    fn refused(before: &Board, after: &Board) -> bool {
        let mut alive = HighWater::default();
        assert!(alive.see(before).is_empty());
        let (cluster_id, marks) = parse(&alive.to_string()).expect("what was written is read");
        let mut started = HighWater { cluster_id, marks, ..HighWater::default() };
        let name = "ledger-00".parse_name();
        let verdicts = [&mut alive, &mut started].map(|high_water| {
            let _ = high_water.see(after);
            high_water.refusal(&name).is_some()
        });
        assert_eq!(verdicts[0], verdicts[1]);
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
        let _ = high_water.see(&board(1, &[("ledger-00", 3, 20, 15)]));
        let news = high_water.see(&board(1, &[("ledger-00", 3, 18, 13)]));
        let said = news[0].1.to_string();
        assert!(said.contains("revision 13 (") && said.contains("revision 15 ("), "{said}");
        assert!(high_water.see(&board(1, &[("ledger-00", 4, 30, 30)])).is_empty(), "said once");
        assert!(high_water.refusal(&"ledger-00".parse_name()).is_some());
    }

    #[test]
    fn a_file_that_is_cut_short_is_not_believed() {
        let mut high_water = HighWater::default();
        let _ = high_water.see(&board(1, &[("ledger-00", 3, 20, 15), ("ledger-01", 1, 1, 1)]));
        let text = high_water.to_string();
        assert!((0..text.len()).all(|end| parse(&text[..end]).is_none()));
    }

    #[test]
    fn what_was_saved_is_found_again() {
        let folder = std::env::temp_dir().join(format!("polis-high-water-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("high-water");
        let notebook = Notebook::File(path);
        let mut first = HighWater::open(notebook.clone()).expect("no file yet");
        let _ = first.see(&board(5, &[("ledger-00", 3, 20, 15)]));
        let (to, text) = first.take_unsaved().expect("something new");
        to.write(&text).expect("saved");
        assert!(first.take_unsaved().is_none());
        let mut second = HighWater::open(notebook.clone()).expect("the file");
        assert_eq!(second.see(&board(5, &[("ledger-00", 3, 19, 15)])).len(), 1);
        notebook.forget().expect("removed");
        assert_eq!(HighWater::open(notebook).expect("no file").cluster_id(), 0);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
