//! Folding log into the base, a piece at a time.

use fjall::OwnedWriteBatch;
use keyspace::Fold;
use kv::{KeyspaceName, Revision};

use super::{
    Disk,
    layout::{
        Id, Mark, encode_lease, encode_note, encode_row, head_key, lease_key, log_key, mark_key,
        note_key, row_key,
    },
    read::View,
    tidy::end_process,
};
use crate::{Epoch, Error, Outcome, Seq};

/// Log that one piece takes in; it is held in memory once and written once.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// A stretch of log, folded.
struct Piece {
    /// Batches that stand in the tree, and not in a file.
    in_tree: Vec<Seq>,
    mark: Mark,
    fold: Fold,
    is_last: bool,
}

// === impl Disk ===

impl Disk {
    /// Folds every batch that ends before `revision`. Each piece writes its
    /// rows and moves the mark in one atomic write; so a crash leaves whole
    /// pieces. None is synced by itself: the log's files are kept until all of
    /// them are.
    pub(super) fn fold(
        &self,
        name: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        loop {
            let Some(view) = self
                .view(name, |line| line.batches_up_to(revision))?
                .filter(|view| view.epoch() == epoch)
            else {
                return Ok(Outcome::Deposed);
            };
            let piece = Piece::read(&view, revision)?;
            let is_last = piece.is_last;
            self.write_piece(&view, piece);
            if is_last {
                self.shelf.stir();
                return Ok(Outcome::Committed);
            }
        }
    }

    fn write_piece(&self, view: &View<'_>, piece: Piece) {
        let Piece { in_tree, mark, fold, is_last: _ } = piece;
        let id = view.id();
        let mut write = self.db.batch();
        self.write_fold(&mut write, id, fold);
        for seq in in_tree {
            write.remove(&self.log, log_key(id, seq));
        }
        write.insert(&self.log, mark_key(id), mark.encode());
        // A head is never behind its mark.
        write.insert(&self.log, head_key(view.name), view.head.encode());
        if let Err(error) = write.commit() {
            end_process(&error);
        }
        if let Some(line) = self.index().line_mut(view.name) {
            line.fold_to(mark.seq);
        }
    }

    /// What a fold does to rows, leases and notes.
    pub(super) fn write_fold(&self, write: &mut OwnedWriteBatch, id: Id, fold: Fold) {
        for (key, row) in fold.rows {
            match row {
                Some(row) => write.insert(&self.rows, row_key(id, &key), encode_row(&row)),
                None => write.remove(&self.rows, row_key(id, &key)),
            }
        }
        for (lease_id, lease) in fold.leases {
            match lease {
                Some(lease) => {
                    write.insert(&self.log, lease_key(id, lease_id), encode_lease(&lease));
                }
                None => write.remove(&self.log, lease_key(id, lease_id)),
            }
        }
        for (name, note) in fold.notes {
            match note {
                Some(note) => write.insert(&self.log, note_key(id, &name), encode_note(&note)),
                None => write.remove(&self.log, note_key(id, &name)),
            }
        }
    }
}

// === impl Piece ===

impl Piece {
    fn read(view: &View<'_>, floor: Revision) -> Result<Piece, Error> {
        let mut piece =
            Piece { in_tree: Vec::new(), mark: view.mark, fold: Fold::default(), is_last: true };
        let mut bytes = 0;
        for batch in view.batches() {
            let (seq, batch, length, in_tree) = batch?;
            if batch.revision >= floor {
                piece.fold.add_removals(&batch.records, floor);
                break;
            }
            if bytes > PIECE_BYTES_MAX {
                piece.is_last = false;
                break;
            }
            bytes += length;
            piece.in_tree.extend(in_tree.then_some(seq));
            piece.mark.seq = seq;
            piece.mark.revision = batch.revision;
            batch.records.into_iter().for_each(|record| piece.fold.add(record));
        }
        let folded = piece.fold.compacted;
        piece.mark.compacted = piece.mark.compacted.max(folded).max(floor);
        Ok(piece)
    }
}
