//! A folded piece's transaction: the mark by comparison, then what it moves.

use bytes::Bytes;
use kv::KeyspaceName;

use super::{
    append::{name, statement},
    session::Session,
    text::{Arg, Text, escaped_bytes_max},
};
use crate::{
    Epoch,
    sql::{Failure, Piece},
};

/// Parsing a statement costs more than its share beyond this.
const STATEMENT_BYTES_MAX: usize = 512 * 1024;

// === impl Session ===

impl Session {
    pub(super) async fn fold_piece(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        let mut text = Text::default();
        text.say("BEGIN", &[]);
        // Only read, because a lock on the head would hold up commits: whoever
        // folds on after its time does what its follower would do.
        text.say(
            "SELECT 1 FROM polis_keyspace WHERE keyspace = ? AND epoch = ?",
            &[name(keyspace), Arg::Number(epoch.0)],
        );
        text.say(
            "UPDATE polis_mark SET seq = ?, revision = ?, compacted = ? WHERE keyspace = ? AND \
             seq = ?",
            &[
                Arg::Number(piece.mark.seq.0),
                Arg::Number(piece.mark.revision.0),
                Arg::Number(piece.mark.compacted.0),
                name(keyspace),
                Arg::Number(piece.after.0),
            ],
        );
        let answers = self.ask_causal(true, text).await.map_err(|broke| broke.before_commit())?;
        if answers[1].rows.is_empty() || answers[2].changed != 1 {
            self.ask(statement("ROLLBACK")).await.map_err(|broke| broke.before_commit())?;
            return Ok(false);
        }
        for text in self.cell_statements(keyspace, &piece.cells) {
            self.ask_much(text).await.map_err(|broke| broke.before_commit())?;
        }
        let mut text = Text::default();
        // From where the log begins: what was removed before is not walked over.
        text.say(
            "DELETE FROM polis_log WHERE keyspace = ? AND seq > ? AND seq <= ?",
            &[name(keyspace), Arg::Number(piece.after.0), Arg::Number(piece.mark.seq.0)],
        );
        text.say("COMMIT", &[]);
        // What a node took away before it was told of as if it stood; see
        // `append`. Later marks are of folds that came after this one.
        text.say(
            "SELECT 1 FROM polis_mark WHERE keyspace = ? AND seq >= ?",
            &[name(keyspace), Arg::Number(piece.mark.seq.0)],
        );
        let answers = self.ask_much(text).await.map_err(|broke| broke.of_commit(1))?;
        match answers[2].rows.is_empty() {
            true => Err(Failure::Lost("a fold was taken away within its packet".to_owned())),
            false => Ok(true),
        }
    }

    /// As a fold, of what comes from elsewhere.
    pub(super) async fn install_piece(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        let mut text = Text::default();
        text.say("BEGIN", &[]);
        text.say(
            "SELECT 1 FROM polis_keyspace WHERE keyspace = ? AND epoch = ? AND seq = 0 FOR UPDATE",
            &[name(keyspace), Arg::Number(epoch.0)],
        );
        let answers = self.ask_causal(true, text).await.map_err(|broke| broke.before_commit())?;
        if answers[1].rows.is_empty() {
            self.ask(statement("ROLLBACK")).await.map_err(|broke| broke.before_commit())?;
            return Ok(false);
        }
        for text in self.cell_statements(keyspace, &piece.cells) {
            self.ask_much(text).await.map_err(|broke| broke.before_commit())?;
        }
        let mut text = Text::default();
        text.say(
            "UPDATE polis_keyspace SET revision = GREATEST(revision, ?) WHERE keyspace = ?",
            &[Arg::Number(piece.mark.revision.0), name(keyspace)],
        );
        text.say(
            "UPDATE polis_mark SET revision = ?, compacted = ? WHERE keyspace = ?",
            &[
                Arg::Number(piece.mark.revision.0),
                Arg::Number(piece.mark.compacted.0),
                name(keyspace),
            ],
        );
        text.say("COMMIT", &[]);
        self.ask_much(text).await.map_err(|broke| broke.of_commit(2))?;
        Ok(true)
    }

    /// Each fits into a packet, and is at most about [`STATEMENT_BYTES_MAX`]
    /// unless one row alone is larger.
    fn cell_statements(
        &self,
        keyspace: &KeyspaceName,
        cells: &[(Bytes, Option<Bytes>)],
    ) -> Vec<Text> {
        let mut texts = Vec::new();
        let mut text = Text::default();
        for (cell, value) in cells {
            let Some(value) = value else { continue };
            let adds = escaped_bytes_max(cell.len() + value.len()) + 128;
            if !text.is_empty() && text.len() + adds > STATEMENT_BYTES_MAX {
                texts.push(std::mem::take(&mut text));
            }
            match text.is_empty() {
                true => {
                    text.say("REPLACE INTO polis_cell (keyspace, name, bytes, value) VALUES ", &[]);
                }
                false => text.go_on(",", &[]),
            }
            text.go_on(
                "(?, ?, ?, ?)",
                &[
                    name(keyspace),
                    Arg::Bytes(cell),
                    Arg::Number(value.len() as u64),
                    Arg::Bytes(value),
                ],
            );
        }
        if !text.is_empty() {
            texts.push(text);
        }
        let removed: Vec<&[u8]> =
            cells.iter().filter(|(_, value)| value.is_none()).map(|(cell, _)| &cell[..]).collect();
        for some in removed.chunks(200) {
            let mut text = Text::default();
            text.say(
                "DELETE FROM polis_cell WHERE keyspace = ? AND name IN (?)",
                &[name(keyspace), Arg::All(some)],
            );
            texts.push(text);
        }
        texts
    }
}
