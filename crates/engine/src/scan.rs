//! Reading all of a keyspace as of one moment, a piece at a time, while
//! others go on writing.

use keyspace::{LeaseRow, NoteRow, Record, Row};
use kv::Revision;
use tokio::sync::mpsc;

use crate::{Epoch, Error, Loaded, Seq};

/// Pieces that may wait for a slow reader; each is about a mebibyte.
const PIECES_AHEAD: usize = 4;

/// Bytes after which a piece is handed over.
pub(crate) const PIECE_BYTES: usize = 1024 * 1024;

/// One keyspace, as of the moment when it was asked for.
#[derive(Debug)]
pub struct Scan {
    pub head: ScanHead,
    pieces: mpsc::Receiver<Result<Option<Piece>, Error>>,
}

/// Where the keyspace stood at that moment, and where its base does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanHead {
    pub epoch: Epoch,
    /// Of the last batch.
    pub seq: Seq,
    /// Every record up to this revision is in the base.
    pub base: Revision,
    /// The highest compaction in the base; the log can hold a higher one.
    pub compacted: Revision,
}

/// Leases and notes come first, then the log, then the rows of the base: who
/// reads the rows knows already what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Leases(Vec<LeaseRow>),
    Notes(Vec<NoteRow>),
    /// In order.
    Log(Vec<Record>),
    /// By key, or nearly so: an engine may have its own order for long ones.
    Rows(Vec<Row>),
}

/// The other end of a [`Scan`].
#[derive(Debug)]
pub(crate) struct Pieces(mpsc::Sender<Result<Option<Piece>, Error>>);

/// For one piece.
#[derive(Debug)]
pub(crate) struct Room<'a>(mpsc::Permit<'a, Result<Option<Piece>, Error>>);

/// Whoever scans has gone: nothing more is needed.
#[derive(Debug)]
pub(crate) struct Abandoned;

// === impl Scan ===

impl Scan {
    pub(crate) fn new(head: ScanHead) -> (Pieces, Scan) {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        (Pieces(sender), Scan { head, pieces })
    }

    /// Of what is in memory already.
    pub(crate) fn of(loaded: Loaded) -> Scan {
        let Loaded { epoch, seq, base, log } = loaded;
        let head = ScanHead { epoch, seq, base: base.revision, compacted: base.compacted };
        let (pieces, scan) = Scan::new(head);
        let mut rows = base.rows;
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let all = [
            Piece::Leases(base.leases),
            Piece::Notes(base.notes),
            Piece::Log(log),
            Piece::Rows(rows),
        ];
        rt::spawn(rt::TaskKind::Connection, "scan", async move {
            for piece in all.map(Some).into_iter().chain([None]) {
                if pieces.0.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
        });
        scan
    }

    /// The next piece; `None` when that was all.
    pub async fn next(&mut self) -> Result<Option<Piece>, Error> {
        // An end that was not announced is none.
        self.pieces.recv().await.unwrap_or(Err(Error::Stopped))
    }
}

// === impl Pieces ===

impl Pieces {
    /// Room for one more piece; waits while the reader is slow.
    pub(crate) async fn room(&self) -> Result<Room<'_>, Abandoned> {
        self.0.reserve().await.map(Room).map_err(|_| Abandoned)
    }

    /// As [`Pieces::end`], where nothing may block.
    pub(crate) async fn end_soon(self, outcome: Result<(), Error>) {
        // Nobody may be there to hear it.
        let _ = self.0.send(outcome.map(|()| None)).await;
    }

    /// Blocks while the reader is slow.
    pub(crate) fn send(&self, piece: Piece) -> Result<(), Abandoned> {
        self.0.blocking_send(Ok(Some(piece))).map_err(|_| Abandoned)
    }

    /// Says that this was all, or why it is not.
    pub(crate) fn end(self, outcome: Result<(), Error>) {
        // Nobody may be there to hear it.
        let _ = self.0.blocking_send(outcome.map(|()| None));
    }
}

// === impl Room ===

impl Room<'_> {
    pub(crate) fn fill(self, piece: Piece) {
        self.0.send(Ok(Some(piece)));
    }
}
