//! Reading all of a keyspace, or single values.

use keyspace::{Base, Handle, Place, Record, Values};
use kv::{KeyspaceName, Value};

use super::{Connection, Failure, LogRow, cell, log};
use crate::{Error, Loaded, Seq, memory::put_of, stored::StoredBatch};

/// Read at once: enough that round trips do not count, and little to hold.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

pub(super) async fn load(
    session: &mut dyn Connection,
    keyspace: &KeyspaceName,
) -> Result<Loaded, Failure> {
    let Some((head, mark)) = session.begin(keyspace).await? else {
        return Ok(Loaded::default());
    };
    let mut loaded = Loaded {
        epoch: head.epoch,
        seq: head.seq,
        base: Base { revision: mark.revision, compacted: mark.compacted, ..Base::default() },
        log: Vec::new(),
    };
    let mut last = mark.seq;
    while last < head.seq {
        let (rows, _) = session.tail(keyspace, last, PAGE_BYTES).await?;
        let follow = log::follows(keyspace, last, &rows, &mark).map_err(Failure::Refused)?;
        if rows.is_empty() || !follow {
            // The head is written with each batch, so the log has lost its end.
            return Err(Failure::Refused(log::missing(keyspace, last.next())));
        }
        for row in &rows {
            loaded.log.extend(log::decode(keyspace, row).map_err(Failure::Refused)?.records);
            last = row.seq;
        }
    }
    let mut after = Vec::new();
    loop {
        let cells = session.cells(keyspace, &after, PAGE_BYTES).await?;
        let Some(end) = cells.last() else { break };
        after = end.name.to_vec();
        for stored in &cells {
            cell::read_into(&mut loaded.base, keyspace, &stored.name, &stored.value).map_err(
                |broken| Failure::Refused(broken.of(keyspace.as_str(), row(&stored.name))),
            )?;
        }
    }
    session.end().await?;
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
        .map_err(|broken| Failure::Refused(broken.of(keyspace.as_str(), row(&name))))?;
    let found = base.rows.pop().filter(|row| row.mod_revision == place.written);
    Ok(found.and_then(|row| match row.value {
        Handle::Inline(value) => Some(value),
        Handle::At(_) => None,
    }))
}

/// A cell's name without its kind.
fn row(name: &[u8]) -> String {
    format!("row {:?}", String::from_utf8_lossy(name.get(1..).unwrap_or_default()))
}
