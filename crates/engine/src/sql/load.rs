//! Reading all of a keyspace, or single values.

use keyspace::{Base, Handle, Place, Record, Values};
use kv::{KeyspaceName, Value};

use super::{Connection, Failure, LogRow, cell, log, row_of, walk::Walk};
use crate::{Error, Loaded, Piece, ScanHead, Seq, memory::put_of, stored::StoredBatch};

/// Everything, in memory at once.
pub(super) async fn load(
    session: &mut dyn Connection,
    keyspace: &KeyspaceName,
) -> Result<Loaded, Failure> {
    let Some((head, mark)) = session.begin(keyspace).await? else {
        return Ok(Loaded::default());
    };
    let mut walk = Walk::new(head, mark);
    let ScanHead { epoch, seq, base: revision, compacted } = walk.head();
    let base = Base { revision, compacted, ..Base::default() };
    let mut loaded = Loaded { epoch, seq, base, log: Vec::new() };
    while let Some(piece) = walk.next(session).await? {
        match piece {
            Piece::Leases(leases) => loaded.base.leases.extend(leases),
            Piece::Notes(notes) => loaded.base.notes.extend(notes),
            Piece::Log(records) => loaded.log.extend(records),
            Piece::Rows(rows) => loaded.base.rows.extend(rows),
        }
    }
    Ok(loaded)
}

/// Reads `places`. Log moves into the base, so whoever looks in this order
/// misses nothing that moves meanwhile.
pub(super) async fn fetch(
    session: &mut dyn Connection,
    keyspace: &KeyspaceName,
    places: &[Place],
) -> Result<Values, Failure> {
    let mut values = Values::default();
    let mut last: Option<(Seq, StoredBatch)> = None;
    for place in places {
        let in_last = last.as_ref().and_then(|(_, batch)| value_in(batch, place));
        let value = match in_last {
            Some(value) => Some(value),
            None => {
                let row = session.batch_of(keyspace, place.written).await?;
                last = row.map(|row| decoded(keyspace, &row)).transpose()?;
                let in_log = last.as_ref().and_then(|(_, batch)| value_in(batch, place));
                match in_log {
                    Some(value) => Some(value),
                    None => in_base(session, keyspace, place).await?,
                }
            }
        };
        let gone = || Failure::Refused(Error::Gone(place.clone()));
        values.insert(place.clone(), value.ok_or_else(gone)?);
    }
    Ok(values)
}

fn decoded(keyspace: &KeyspaceName, row: &LogRow) -> Result<(Seq, StoredBatch), Failure> {
    Ok((row.seq, log::decode(keyspace, row).map_err(Failure::Refused)?))
}

fn value_in(batch: &StoredBatch, place: &Place) -> Option<Value> {
    batch.records.iter().find_map(|record| match record {
        Record::Txn { revision, changes } if *revision == place.written => put_of(changes, place),
        _ => None,
    })
}

async fn in_base(
    session: &mut dyn Connection,
    keyspace: &KeyspaceName,
    place: &Place,
) -> Result<Option<Value>, Failure> {
    let name = cell::key_name(&place.key);
    let Some(value) = session.cell(keyspace, &name).await? else { return Ok(None) };
    let mut base = Base::default();
    cell::read_into(&mut base, keyspace, &name, &value)
        .map_err(|broken| Failure::Refused(broken.of(keyspace.as_str(), row_of(&name, &value))))?;
    let found = base.rows.pop().filter(|row| row.mod_revision == place.written);
    Ok(found.and_then(|row| match row.value {
        Handle::Inline(value) => Some(value),
        Handle::At(_) => None,
    }))
}
