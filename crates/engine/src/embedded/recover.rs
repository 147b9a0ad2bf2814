//! What there is when the data is opened: trees first, then the log's files.

use std::{path::Path, sync::Arc};

use fjall::Readable as _;
use kv::KeyspaceName;

use super::{
    WAL_FOLDER,
    entry::{self, Entry},
    index::{Index, Line, Site, Stored},
    layout::{
        self, Head, Mark, START_KEY, batch_name, decode_start, head_name, log_prefix, log_seq,
        mark_key,
    },
    read::read_error,
    wal::{self, Recovered, Segment},
};
use crate::{
    Error, Seq,
    stored::{Broken, StoredBatch, batch_header},
};

/// Reads everything that says where batches are.
pub(super) fn recover(
    path: &Path,
    db: &fjall::Database,
    log: &fjall::Keyspace,
    cluster_id: u64,
) -> Result<(Index, Recovered), Error> {
    let (mut index, mut ends) = (Index::default(), Vec::new());
    let snapshot = db.snapshot();
    for item in snapshot.prefix(log, layout::HEAD_PREFIX) {
        let (key, stored) = item.into_inner().map_err(read_error)?;
        let text = String::from_utf8_lossy(&key).into_owned();
        let head = Head::decode(&stored).map_err(|broken| broken.of(&text, "its head"))?;
        let name = head_name(&key).ok_or_else(|| Broken::Misplaced.of(&text, "its head"))?;
        let line = line(&snapshot, log, &name, head)?;
        ends.push((name.clone(), head));
        index.adopt(name, line);
    }
    // The files go on where the trees end.
    let start = snapshot.get(log, START_KEY).map_err(read_error)?;
    let start = start.map(|stored| decode_start(&stored)).transpose();
    let start = start.map_err(|broken| broken.of("-", "the start of the log"))?;
    let folder = path.join(WAL_FOLDER);
    let recovered = wal::recover(&folder, cluster_id, start, |segment, at, body| {
        take_in(&mut index, segment, at, body)
    })?;
    for (name, head) in ends {
        let line = index.line_mut(&name).expect("nothing is removed");
        // A head is stored after its batches, so a log that ends before it has
        // lost its end.
        if line.last() < head.seq {
            let missing = line.last().next();
            line.broken.get_or_insert(format!("batch {missing}: it is missing"));
        }
    }
    Ok((index, recovered))
}

/// One keyspace, as far as the trees know it.
fn line(
    snapshot: &fjall::Snapshot,
    log: &fjall::Keyspace,
    name: &KeyspaceName,
    head: Head,
) -> Result<Line, Error> {
    let mut line = Line::new(head);
    let stored = snapshot.get(log, mark_key(head.id)).map_err(read_error)?;
    match stored.map(|stored| Mark::decode(&stored)).transpose() {
        Ok(mark) => line.folded = mark.unwrap_or_default().seq,
        Err(broken) => line.breaks(name, "its mark", broken),
    }
    for item in snapshot.prefix(log, log_prefix(head.id)) {
        let (key, stored) = item.into_inner().map_err(read_error)?;
        let Some(seq) = log_seq(&key) else {
            line.breaks(name, "a batch", Broken::Misplaced);
            continue;
        };
        match StoredBatch::decode(&batch_name(seq), &stored) {
            Ok(batch) => {
                line.push(seq, Stored { revision: batch.revision, site: Site::Tree });
            }
            Err(broken) => line.breaks(name, &format!("batch {seq}"), broken),
        }
    }
    Ok(line)
}

/// What one frame adds.
fn take_in(index: &mut Index, segment: &Arc<Segment>, at: u64, body: &[u8]) -> Result<(), Error> {
    for entry in entry::decode(body) {
        let hurt = |what: &str, broken: Broken| broken.of("-", what);
        match entry.map_err(|broken| hurt("an entry of the log", broken))? {
            Entry::Raised { id, epoch, name } => index.raise(&name, id, epoch),
            Entry::Batch { id, offset, bytes } => {
                let header =
                    batch_header(bytes).map_err(|broken| hurt("a batch of the log", broken))?;
                let Some(line) = index.by_id(id) else {
                    return Err(hurt("a batch of the log", Broken::Misplaced));
                };
                let site = Site::File {
                    segment: segment.clone(),
                    at: at + offset as u64,
                    length: bytes.len(),
                };
                let (seq, revision): (Seq, _) = header;
                line.push(seq, Stored { revision, site });
            }
        }
    }
    Ok(())
}
