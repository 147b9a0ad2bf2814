//! Each transaction of [`Connection`] as statements.

use async_trait::async_trait;
use bytes::Bytes;
use kv::{KeyspaceName, Revision};

use super::{
    append::{name, statement},
    failure::Broke,
    pages::rows,
    session::{Answer, Session},
    text::{Arg, Text},
};
use crate::{
    Board, Epoch, Error, Head, Replica, ReplicaId, Seq,
    sql::{Append, Cell, Connection, Failure, Founded, LogRow, Mark, Piece, Stand},
};

const BOARD: [&str; 3] = [
    "SELECT cluster_id, @@global.read_only FROM polis_meta WHERE one = 1",
    "SELECT id, name, urls, beat FROM polis_replica ORDER BY id",
    "SELECT keyspace, epoch, leader, seq, revision FROM polis_keyspace ORDER BY keyspace",
];

type HeadColumns = (Vec<u8>, u64, Option<u64>, u64, u64);

#[async_trait]
impl Connection for Session {
    fn is_fit(&self) -> bool {
        Session::is_fit(self)
    }

    fn row_bytes_max(&self) -> usize {
        // Escaped, a byte may take two.
        (self.packet_bytes_max - self.packet_bytes_max / 64) / 2
    }

    async fn found(&mut self, cluster_id: u64) -> Result<u64, Failure> {
        self.found_tables(cluster_id).await
    }

    async fn raise(
        &mut self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Stand, Failure> {
        if seen == Epoch::default() {
            self.make_head(keyspace).await?;
        }
        let mut text = Text::default();
        text.say("BEGIN", &[]);
        text.say(
            "UPDATE polis_keyspace SET epoch = ?, leader = ? WHERE keyspace = ? AND epoch = ?",
            &[Arg::Number(seen.next().0), Arg::Number(by.0), name(keyspace), Arg::Number(seen.0)],
        );
        // Under lock, so that it comes after whatever is under way.
        text.say(
            "SELECT epoch, leader FROM polis_keyspace WHERE keyspace = ? FOR UPDATE",
            &[name(keyspace)],
        );
        text.say("COMMIT", &[]);
        // What a node took away before it, for another node's claim, was told
        // of here as if it stood; see `append`.
        text.say("SELECT epoch, leader FROM polis_keyspace WHERE keyspace = ?", &[name(keyspace)]);
        let answers = self.ask_causal(true, text).await.map_err(|broke| broke.of_commit(3))?;
        let [_, update, locked, _, select] = take(answers);
        let locked: Vec<(u64, Option<u64>)> = rows(locked)?;
        let stands: Vec<(u64, Option<u64>)> = rows(select)?;
        let (epoch, leader) = stands.first().copied().unwrap_or_default();
        let raised = update.changed == 1;
        if raised && locked != stands && self.may_take_away() {
            return Err(Failure::Lost("a claim was taken away within its packet".to_owned()));
        }
        Ok(Stand { raised, epoch: Epoch(epoch), leader: leader.map(ReplicaId) })
    }

    async fn append(&mut self, keyspace: &KeyspaceName, append: &Append) -> Result<bool, Failure> {
        self.append_batch(keyspace, append).await
    }

    async fn beat(&mut self, me: &Replica) -> Result<Board, Failure> {
        let mut text = Text::default();
        text.say(
            "REPLACE INTO polis_replica (id, name, urls, beat) VALUES (?, ?, ?, ?)",
            &[
                Arg::Number(me.id.0),
                Arg::Bytes(me.name.as_bytes()),
                Arg::Bytes(me.urls.join("\n").as_bytes()),
                Arg::Number(me.beat),
            ],
        );
        say_board(&mut text);
        let mut answers = self.ask_causal(true, text).await.map_err(Broke::of_read)?;
        answers.remove(0);
        board(answers)
    }

    async fn look(&mut self) -> Result<Board, Failure> {
        let mut text = Text::default();
        say_board(&mut text);
        board(self.ask_causal(true, text).await.map_err(Broke::of_read)?)
    }

    async fn bytes(&mut self) -> Result<u64, Failure> {
        let text = statement(
            "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS UNSIGNED) FROM \
             information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE \
             'polis\\_%'",
        );
        let [answer] = take(self.ask(text).await.map_err(Broke::of_read)?);
        let sums: Vec<(u64,)> = rows(answer)?;
        Ok(sums.first().map_or(0, |(sum,)| *sum))
    }

    async fn reclaim(&mut self) -> Result<bool, Failure> {
        self.optimize().await
    }

    async fn retire(&mut self, replica: ReplicaId) -> Result<(), Failure> {
        let mut text = Text::default();
        text.say("DELETE FROM polis_replica WHERE id = ?", &[Arg::Number(replica.0)]);
        self.ask_causal(true, text).await.map_err(Broke::of_read)?;
        Ok(())
    }

    async fn release(&mut self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<bool, Failure> {
        let args = [name(keyspace), Arg::Number(epoch.0)];
        let mut text = Text::default();
        text.say("UPDATE polis_keyspace SET leader = NULL WHERE keyspace = ? AND epoch = ?", &args);
        // A head that had no leader any more is not changed by that.
        text.say("SELECT epoch FROM polis_keyspace WHERE keyspace = ? AND epoch = ?", &args);
        let answers = self.ask_causal(true, text).await.map_err(Broke::of_read)?;
        let [_, select] = take(answers);
        Ok(!select.rows.is_empty())
    }

    async fn tail(
        &mut self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<(Vec<LogRow>, Mark), Failure> {
        let rows = self.log_page(keyspace, after, bytes_max).await?;
        Ok((rows, self.mark(keyspace).await?))
    }

    async fn batch_of(
        &mut self,
        keyspace: &KeyspaceName,
        revision: Revision,
    ) -> Result<Option<LogRow>, Failure> {
        self.find_batch(keyspace, revision).await
    }

    async fn cell(
        &mut self,
        keyspace: &KeyspaceName,
        cell: &[u8],
    ) -> Result<Option<Bytes>, Failure> {
        self.one_cell(keyspace, cell).await
    }

    async fn begin(&mut self, keyspace: &KeyspaceName) -> Result<Option<(Head, Mark)>, Failure> {
        let mut text = Text::default();
        text.say("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", &[]);
        text.say("START TRANSACTION WITH CONSISTENT SNAPSHOT", &[]);
        text.say(
            "SELECT keyspace, epoch, leader, seq, revision FROM polis_keyspace WHERE keyspace = ?",
            &[name(keyspace)],
        );
        let answers = self.ask_causal(true, text).await.map_err(Broke::of_read)?;
        let [_, _, select] = take(answers);
        let Some(columns) = rows::<HeadColumns>(select)?.pop() else {
            self.end().await?;
            return Ok(None);
        };
        let mark = self.mark(keyspace).await?;
        Ok(Some((head(columns)?, mark)))
    }

    async fn cells(
        &mut self,
        keyspace: &KeyspaceName,
        after: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<Cell>, Failure> {
        self.cell_page(keyspace, after, bytes_max).await
    }

    async fn stay(&mut self) -> Result<(), Failure> {
        self.ask(statement("SELECT 1")).await.map_err(Broke::of_read)?;
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Failure> {
        self.ask(statement("COMMIT")).await.map_err(Broke::of_read)?;
        Ok(())
    }

    async fn fold(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        self.fold_piece(keyspace, epoch, piece).await
    }

    async fn install(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        self.install_piece(keyspace, epoch, piece).await
    }

    async fn jump(&mut self, head: &Head) -> Result<bool, Failure> {
        let keyspace = &head.keyspace;
        self.make_head(keyspace).await?;
        let mut text = Text::default();
        text.say("BEGIN", &[]);
        text.say(
            "UPDATE polis_keyspace SET epoch = ?, leader = NULL, seq = ?, revision = ? WHERE \
             keyspace = ? AND NOT EXISTS (SELECT 1 FROM polis_log WHERE keyspace = ?)",
            &[
                Arg::Number(head.epoch.0),
                Arg::Number(head.seq.0),
                Arg::Number(head.revision.0),
                name(keyspace),
                name(keyspace),
            ],
        );
        text.say(
            "UPDATE polis_mark SET seq = ?, revision = ?, compacted = ? WHERE keyspace = ? AND \
             NOT EXISTS (SELECT 1 FROM polis_log WHERE keyspace = ?)",
            &[
                Arg::Number(head.seq.0),
                Arg::Number(head.revision.0),
                Arg::Number(head.revision.0),
                name(keyspace),
                name(keyspace),
            ],
        );
        text.say("COMMIT", &[]);
        self.ask_causal(true, text).await.map_err(|broke| broke.of_commit(3))?;
        // Done twice it changes nothing the second time, and is done.
        let mut text = Text::default();
        text.say(
            "SELECT 1 FROM polis_keyspace WHERE keyspace = ? AND epoch = ? AND seq = ?",
            &[name(keyspace), Arg::Number(head.epoch.0), Arg::Number(head.seq.0)],
        );
        let answers = self.ask_causal(true, text).await.map_err(Broke::of_read)?;
        let [select] = take(answers);
        Ok(!select.rows.is_empty())
    }

    async fn founded(&mut self) -> Result<Option<Founded>, Failure> {
        self.founded_tables().await
    }

    async fn begin_restore(&mut self, from: u64, to: u64) -> Result<bool, Failure> {
        self.mark_unfinished(from, to).await
    }

    async fn clear_some(&mut self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<bool, Failure> {
        self.clear_rows(keyspace, epoch).await
    }

    async fn end_restore(&mut self, cluster_id: u64) -> Result<bool, Failure> {
        self.mark_finished(cluster_id).await
    }

    async fn rename(&mut self, from: u64, to: u64) -> Result<bool, Failure> {
        let mut text = Text::default();
        text.say(
            "UPDATE polis_meta SET cluster_id = ? WHERE one = 1 AND cluster_id = ?",
            &[Arg::Number(to), Arg::Number(from)],
        );
        let answers = self.ask_causal(true, text).await.map_err(Broke::of_read)?;
        let [update] = take(answers);
        Ok(update.changed == 1)
    }
}

// === impl Session ===

impl Session {
    /// Two rows that are there from then on; each is whole by itself.
    async fn make_head(&mut self, keyspace: &KeyspaceName) -> Result<(), Failure> {
        let mut text = Text::default();
        text.say(
            "INSERT IGNORE INTO polis_mark (keyspace, seq, revision, compacted) VALUES (?, 0, 0, 0)",
            &[name(keyspace)],
        );
        text.say(
            "INSERT IGNORE INTO polis_keyspace (keyspace, epoch, leader, seq, revision) VALUES \
             (?, 0, NULL, 0, ?)",
            &[name(keyspace), Arg::Number(Revision::FIRST.0)],
        );
        self.ask_causal(true, text).await.map_err(Broke::of_read)?;
        Ok(())
    }
}

fn say_board(text: &mut Text) {
    BOARD.iter().for_each(|select| text.say(select, &[]));
}

fn board(answers: Vec<Answer>) -> Result<Board, Failure> {
    let [meta, replicas, heads] = take(answers);
    let meta: Vec<(u64, String)> = rows(meta)?;
    let Some((cluster_id, read_only)) = meta.into_iter().next() else {
        return Err(Failure::Unavailable("polis_meta is empty".to_owned()));
    };
    if !["0", "OFF"].contains(&read_only.as_str()) {
        // It was the primary, and may be behind the one that is now.
        return Err(Failure::Unavailable("it has become read-only".to_owned()));
    }
    let replica = |(id, name, urls, beat): (u64, Vec<u8>, Vec<u8>, u64)| Replica {
        id: ReplicaId(id),
        name: String::from_utf8_lossy(&name).into_owned(),
        urls: String::from_utf8_lossy(&urls).lines().map(str::to_owned).collect(),
        beat,
    };
    Ok(Board {
        cluster_id,
        replicas: rows(replicas)?.into_iter().map(replica).collect(),
        heads: rows::<HeadColumns>(heads)?.into_iter().map(head).collect::<Result<_, _>>()?,
    })
}

fn head((keyspace, epoch, leader, seq, revision): HeadColumns) -> Result<Head, Failure> {
    let text = String::from_utf8_lossy(&keyspace);
    let keyspace = KeyspaceName::new(&text).map_err(|error| {
        let problem = format!("polis_keyspace: {error}");
        Failure::Refused(Error::Database { code: errors::DATABASE_UNFIT, problem })
    })?;
    Ok(Head {
        keyspace,
        epoch: Epoch(epoch),
        leader: leader.map(ReplicaId),
        seq: Seq(seq),
        revision: Revision(revision),
    })
}

fn take<const N: usize>(answers: Vec<Answer>) -> [Answer; N] {
    answers.try_into().unwrap_or_else(|_| panic!("as many answers as statements"))
}
