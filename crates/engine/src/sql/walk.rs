//! Reading all of a keyspace, a page at a time, as of one moment.
//!
//! The moment is a transaction that only reads, under REPEATABLE READ with its
//! snapshot taken at the start. More is not needed: what a serializable
//! transaction would add is about transactions that write, and a snapshot of
//! one server shows every transaction wholly or not at all. It takes no locks,
//! so commits and folds go on; a fold that moves log into cells meanwhile shows
//! on neither side. What it costs the database is old versions kept for as long
//! as it lasts, and those end with it: a database that has thrown them away
//! refuses the next page, and never answers with newer ones.
//!
//! Only bookkeeping and one page are ever in memory.

use std::collections::VecDeque;

use keyspace::{Base, Record};
use kv::{KeyspaceName, Revision};

use super::{Cell, Connection, Failure, Mark, cell, log, row_of};
use crate::{Error, Head, Piece, ScanHead, Seq, scan::PIECE_BYTES};

/// The order of cells' names puts keys first and bookkeeping after them: this
/// stands between the two.
const BOOKKEEPING: &[u8] = b"l";

/// A keyspace being read; [`Connection::begin`] has begun it.
pub(super) struct Walk {
    keyspace: KeyspaceName,
    head: Head,
    mark: Mark,
    /// Where the keyspace stands after what was read of the log.
    revision: Revision,
    stage: Stage,
    ready: VecDeque<Piece>,
}

enum Stage {
    Bookkeeping,
    /// Log after this.
    Log(Seq),
    /// Cells after this name.
    Rows(Vec<u8>),
    End,
}

// === impl Walk ===

impl Walk {
    pub fn new(head: Head, mark: Mark) -> Walk {
        Walk {
            keyspace: head.keyspace.clone(),
            revision: mark.revision,
            head,
            mark,
            stage: Stage::Bookkeeping,
            ready: VecDeque::new(),
        }
    }

    pub fn head(&self) -> ScanHead {
        let Mark { revision: base, compacted, .. } = self.mark;
        ScanHead { epoch: self.head.epoch, seq: self.head.seq, base, compacted }
    }

    /// The next piece; `None` when that was all, and the moment has ended.
    pub async fn next(&mut self, session: &mut dyn Connection) -> Result<Option<Piece>, Failure> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            match &self.stage {
                Stage::Bookkeeping => self.read_bookkeeping(session).await?,
                Stage::Log(after) => {
                    let after = *after;
                    self.read_log(session, after).await?;
                }
                Stage::Rows(after) => {
                    let after = after.clone();
                    self.read_rows(session, &after).await?;
                }
                Stage::End => {
                    session.end().await?;
                    return Ok(None);
                }
            }
        }
    }

    /// All of it: leases and notes are thousands, and small.
    async fn read_bookkeeping(&mut self, session: &mut dyn Connection) -> Result<(), Failure> {
        let mut base = Base::default();
        let mut after = BOOKKEEPING.to_vec();
        loop {
            let cells = session.cells(&self.keyspace, &after, PIECE_BYTES).await?;
            let Some(last) = cells.last() else { break };
            after = last.name.to_vec();
            cells.iter().try_for_each(|cell| self.take_in(&mut base, cell))?;
        }
        self.ready.extend([Piece::Leases(base.leases), Piece::Notes(base.notes)]);
        self.stage = Stage::Log(self.mark.seq);
        Ok(())
    }

    async fn read_log(&mut self, session: &mut dyn Connection, after: Seq) -> Result<(), Failure> {
        if after >= self.head.seq {
            self.stage = Stage::Rows(Vec::new());
            return self.check_end();
        }
        let (rows, _) = session.tail(&self.keyspace, after, PIECE_BYTES).await?;
        let follow = log::follows(&self.keyspace, after, &rows, &self.mark);
        let Some(last) = rows.last().filter(|_| matches!(follow, Ok(true))) else {
            follow.map_err(Failure::Refused)?;
            // The head is written with each batch, so the log has lost its end.
            return Err(Failure::Refused(log::missing(&self.keyspace, after.next())));
        };
        let mut records: Vec<Record> = Vec::new();
        for row in &rows {
            let batch = log::decode(&self.keyspace, row).map_err(Failure::Refused)?;
            records.extend(batch.records);
        }
        self.ready.push_back(Piece::Log(records));
        self.revision = last.revision;
        self.stage = Stage::Log(last.seq);
        Ok(())
    }

    /// Head and log are written together; before the first batch there is
    /// nothing to compare.
    fn check_end(&self) -> Result<(), Failure> {
        let Head { seq, revision, .. } = self.head;
        if seq == Seq(0) || self.revision == revision {
            return Ok(());
        }
        let problem = format!("it says revision {revision}, and the log ends at {}", self.revision);
        let (keyspace, what) = (self.keyspace.to_string(), "its head".to_owned());
        Err(Failure::Refused(Error::Corrupt { keyspace, what, problem }))
    }

    async fn read_rows(
        &mut self,
        session: &mut dyn Connection,
        after: &[u8],
    ) -> Result<(), Failure> {
        let cells = session.cells(&self.keyspace, after, PIECE_BYTES).await?;
        let mut base = Base::default();
        let keys = cells.iter().take_while(|cell| cell.name[..] < *BOOKKEEPING);
        let mut last = None;
        for cell in keys {
            self.take_in(&mut base, cell)?;
            last = Some(cell);
        }
        self.stage = match last {
            Some(last) => Stage::Rows(last.name.to_vec()),
            None => Stage::End,
        };
        self.ready.push_back(Piece::Rows(base.rows));
        Ok(())
    }

    fn take_in(&self, base: &mut Base, stored: &Cell) -> Result<(), Failure> {
        let Cell { name, value } = stored;
        cell::read_into(base, &self.keyspace, name, value).map_err(|broken| {
            Failure::Refused(broken.of(self.keyspace.as_str(), row_of(name, value)))
        })
    }
}
