//! Folding log into the base, a piece at a time.
//!
//! Each piece is one small transaction that compares the mark, so that two
//! folders never take the same log, and that does not touch the head, so that
//! commits do not wait for it. What is folded is committed and below a
//! committed compaction; whoever folds it, the base comes out the same.

use keyspace::Fold;
use kv::{KeyspaceName, Revision};

use super::{Connection, Failure, Mark, Piece, cell, log};
use crate::Epoch;

/// Log that one piece takes in. On Galera a transaction holds up those after
/// it on every node while it is applied; this is some ten milliseconds.
const PIECE_BYTES: usize = 512 * 1024;

pub(super) enum Folded {
    Deposed,
    /// There may be more to fold.
    Some,
    All,
}

pub(super) async fn fold_piece(
    session: &mut dyn Connection,
    keyspace: &KeyspaceName,
    epoch: Epoch,
    floor: Revision,
) -> Result<Folded, Failure> {
    let Some((head, mark)) = session.begin(keyspace).await? else {
        return Ok(Folded::Deposed);
    };
    let (rows, _) = session.tail(keyspace, mark.seq, PIECE_BYTES).await?;
    session.end().await?;
    if head.epoch != epoch {
        return Ok(Folded::Deposed);
    }
    log::follows(keyspace, mark.seq, &rows, &mark).map_err(Failure::Refused)?;
    let mut fold = Fold::default();
    let mut to = mark;
    let mut is_last = true;
    for row in &rows {
        let batch = log::decode(keyspace, row).map_err(Failure::Refused)?;
        if row.revision >= floor {
            fold.add_removals(&batch.records, floor);
            is_last = true;
            break;
        }
        batch.records.into_iter().for_each(|record| fold.add(record));
        to = Mark { seq: row.seq, revision: row.revision, ..to };
        is_last = false;
    }
    to.compacted = to.compacted.max(fold.compacted);
    if is_last {
        // Not before: a piece that moved nothing would be none.
        to.compacted = to.compacted.max(floor.min(head.revision));
    }
    let changed = to != mark;
    let piece = Piece { after: mark.seq, mark: to, cells: cell::cells_of(keyspace, fold) };
    if changed && !session.fold(keyspace, epoch, &piece).await? {
        // Deposed, or another fold was faster: the next look tells.
        return Ok(Folded::Some);
    }
    Ok(if is_last { Folded::All } else { Folded::Some })
}
