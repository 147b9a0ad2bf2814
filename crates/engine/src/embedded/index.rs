//! What is in the log, and where: in memory, for every keyspace.
//!
//! Batches stand in the log's files until they are folded into the base. One
//! that is still needed when its file is to be given back moves to the tree.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use kv::{KeyspaceName, Revision};

use super::{
    layout::{Head, Id},
    wal::Segment,
};
use crate::{Epoch, Error, Seq, stored::Broken};

#[derive(Debug, Default)]
pub(super) struct Index {
    lines: BTreeMap<KeyspaceName, Line>,
    names: HashMap<Id, KeyspaceName>,
}

/// The log of one keyspace.
#[derive(Debug)]
pub(super) struct Line {
    pub head: Head,
    /// The last batch that is not in `batches`, because it is in the base.
    pub folded: Seq,
    pub batches: VecDeque<Stored>,
    /// Why nothing of it may be served.
    pub broken: Option<String>,
}

/// One batch.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Where the keyspace stands after it.
    pub revision: Revision,
    pub site: Site,
}

#[derive(Clone, Debug)]
pub(super) enum Site {
    /// Holding the file keeps it from being used again.
    File {
        segment: Arc<Segment>,
        at: u64,
        length: usize,
    },
    Tree,
}

// === impl Index ===

impl Index {
    pub fn line(&self, name: &KeyspaceName) -> Option<&Line> {
        self.lines.get(name)
    }

    pub fn line_mut(&mut self, name: &KeyspaceName) -> Option<&mut Line> {
        self.lines.get_mut(name)
    }

    pub fn lines(&self) -> impl Iterator<Item = (&KeyspaceName, &Line)> {
        self.lines.iter()
    }

    /// A keyspace comes to be, or somebody else may write to it.
    pub fn raise(&mut self, name: &KeyspaceName, id: Id, epoch: Epoch) {
        let line = self.lines.entry(name.clone()).or_insert_with(|| Line::new(Head::new(id)));
        line.head.epoch = line.head.epoch.max(epoch);
        self.names.insert(id, name.clone());
    }

    /// Adds a keyspace as the trees know it.
    pub fn adopt(&mut self, name: KeyspaceName, line: Line) {
        self.names.insert(line.head.id, name.clone());
        self.lines.insert(name, line);
    }

    pub fn by_id(&mut self, id: Id) -> Option<&mut Line> {
        self.lines.get_mut(self.names.get(&id)?)
    }
}

// === impl Line ===

impl Line {
    pub fn new(head: Head) -> Line {
        Line { head, folded: Seq(0), batches: VecDeque::new(), broken: None }
    }

    /// The last batch there is.
    pub fn last(&self) -> Seq {
        Seq(self.folded.0 + self.batches.len() as u64)
    }

    /// All of them, with their numbers.
    pub fn batches(&self) -> impl Iterator<Item = (Seq, Stored)> + '_ {
        (self.folded.0 + 1..).map(Seq).zip(self.batches.iter().cloned())
    }

    /// Those that end before `revision`, and the one after them.
    pub fn batches_up_to(&self, revision: Revision) -> Vec<(Seq, Stored)> {
        let before = self.batches.partition_point(|stored| stored.revision < revision);
        self.batches().take(before + 1).collect()
    }

    /// Those that brought the keyspace to these revisions, in their own order,
    /// each once. Revisions rise with seq, so they are found by halving.
    pub fn batches_at(&self, revisions: impl Iterator<Item = Revision>) -> Vec<(Seq, Stored)> {
        let position = |revision| self.batches.partition_point(|stored| stored.revision < revision);
        let positions: BTreeSet<usize> = revisions.map(position).collect();
        let found = positions.into_iter().filter_map(|position| {
            let stored = self.batches.get(position)?.clone();
            Some((Seq(self.folded.0 + 1 + position as u64), stored))
        });
        found.collect()
    }

    /// The next batch; one that is there already is passed over.
    pub fn push(&mut self, seq: Seq, stored: Stored) {
        if seq <= self.last() {
            return;
        }
        if seq != self.last().next() {
            let missing = self.last().next();
            self.broken.get_or_insert_with(|| format!("batch {missing}: it is missing"));
            return;
        }
        self.head.seq = seq;
        self.head.revision = stored.revision;
        self.batches.push_back(stored);
    }

    pub fn batch_mut(&mut self, seq: Seq) -> Option<&mut Stored> {
        let position = seq.0.checked_sub(self.folded.0 + 1)?;
        self.batches.get_mut(usize::try_from(position).ok()?)
    }

    /// Everything up to `seq` is in the base.
    pub fn fold_to(&mut self, seq: Seq) {
        while self.folded < seq && self.batches.pop_front().is_some() {
            self.folded = self.folded.next();
        }
    }

    pub fn whole(&self, name: &KeyspaceName) -> Result<(), Error> {
        match &self.broken {
            None => Ok(()),
            Some(problem) => Err(Error::Corrupt {
                keyspace: name.to_string(),
                what: "its log".into(),
                problem: problem.clone(),
            }),
        }
    }

    /// Notes the first thing that is wrong.
    pub fn breaks(&mut self, name: &KeyspaceName, what: &str, broken: Broken) {
        let problem = broken.of(name.as_str(), what).to_string();
        self.broken.get_or_insert(problem);
    }
}
