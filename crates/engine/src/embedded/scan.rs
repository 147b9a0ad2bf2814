//! Reading a whole keyspace in pieces, from a snapshot of the trees.

use keyspace::{Record, Row};
use kv::KeyspaceName;
use tokio::sync::oneshot;

use super::{Disk, read::View};
use crate::{
    Error, Piece, Scan, ScanHead,
    scan::{Abandoned, PIECE_BYTES, Pieces},
};

/// Why a scan ended early.
enum Stop {
    Abandoned,
    Failed(Error),
}

// === impl Disk ===

impl Disk {
    /// Answers with a scan, and then feeds it until its end. Blocks.
    pub(super) fn scan(&self, name: &KeyspaceName, answer: oneshot::Sender<Result<Scan, Error>>) {
        let view = match self.view(name, |line| line.batches().collect()) {
            Ok(view) => view,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let head = view.as_ref().map_or_else(ScanHead::default, |view| ScanHead {
            epoch: view.epoch(),
            seq: view.head.seq,
            base: view.mark.revision,
            compacted: view.mark.compacted,
        });
        let (pieces, scan) = Scan::new(head);
        if answer.send(Ok(scan)).is_err() {
            return;
        }
        match view.map_or(Ok(()), |view| feed(&view, &pieces)) {
            Ok(()) => pieces.end(Ok(())),
            Err(Stop::Failed(error)) => pieces.end(Err(error)),
            Err(Stop::Abandoned) => {}
        }
    }
}

fn feed(view: &View<'_>, pieces: &Pieces) -> Result<(), Stop> {
    pieces.send(Piece::Leases(view.leases()?))?;
    pieces.send(Piece::Notes(view.notes()?))?;
    feed_log(view, pieces)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut bytes = 0;
    for row in view.rows() {
        let row = row?;
        bytes += row_bytes(&row);
        rows.push(row);
        if bytes >= PIECE_BYTES {
            bytes = 0;
            pieces.send(Piece::Rows(std::mem::take(&mut rows)))?;
        }
    }
    Ok(pieces.send(Piece::Rows(rows))?)
}

fn feed_log(view: &View<'_>, pieces: &Pieces) -> Result<(), Stop> {
    let mut records: Vec<Record> = Vec::new();
    let mut bytes = 0;
    for batch in view.batches() {
        let (_, batch, length, _) = batch?;
        bytes += length;
        records.extend(batch.records);
        if bytes >= PIECE_BYTES {
            bytes = 0;
            pieces.send(Piece::Log(std::mem::take(&mut records)))?;
        }
    }
    Ok(pieces.send(Piece::Log(records))?)
}

fn row_bytes(row: &Row) -> usize {
    const FIXED: usize = 64;
    let value = match &row.value {
        keyspace::Handle::Inline(value) => value.len(),
        keyspace::Handle::At(_) => 0,
    };
    FIXED + row.key.len() + value
}

// === impl Stop ===

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl From<Abandoned> for Stop {
    fn from(_: Abandoned) -> Stop {
        Stop::Abandoned
    }
}
