//! The log as the database holds it: batches under their seq, without a hole.

use kv::{KeyspaceName, Revision};

use super::{LogRow, Mark};
use crate::{
    Error, Seq,
    stored::{Broken, StoredBatch},
};

/// What a batch is sealed with: its place.
pub(super) fn batch_name(keyspace: &KeyspaceName, seq: Seq) -> Vec<u8> {
    [keyspace.as_str().as_bytes(), &[0], &seq.0.to_be_bytes()].concat()
}

/// Decodes one row, which must be what its columns say.
pub(super) fn decode(keyspace: &KeyspaceName, row: &LogRow) -> Result<StoredBatch, Error> {
    let broken = |broken: Broken| {
        broken.of(keyspace.as_str(), format!("batch {}, to revision {}", row.seq, row.revision))
    };
    let batch = StoredBatch::decode(&batch_name(keyspace, row.seq), &row.data).map_err(broken)?;
    // A batch that spends no revision is stored without one.
    if batch.revision != Revision(0) && batch.revision != row.revision {
        return Err(broken(Broken::Misplaced));
    }
    Ok(StoredBatch { revision: row.revision, records: batch.records })
}

/// Checks that rows follow `after` without a hole. False if they do not
/// because the log does not go back so far any more.
pub(super) fn follows(
    keyspace: &KeyspaceName,
    after: Seq,
    rows: &[LogRow],
    mark: &Mark,
) -> Result<bool, Error> {
    if mark.seq > after && rows.first().is_none_or(|row| row.seq != after.next()) {
        return Ok(false);
    }
    let mut due = after;
    for row in rows {
        due = due.next();
        if row.seq != due {
            return Err(missing(keyspace, due));
        }
    }
    Ok(true)
}

pub(super) fn missing(keyspace: &KeyspaceName, seq: Seq) -> Error {
    let problem = "it is missing".to_owned();
    Error::Corrupt { keyspace: keyspace.to_string(), what: format!("batch {seq}"), problem }
}
