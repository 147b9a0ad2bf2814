//! Cells: the names and values under which keys, leases and notes of the base
//! are stored.
//!
//! A name is a kind and what it names. A key that is too long for an index is
//! named by its SHA-256 instead and stands before its value; a weaker hash
//! would let a client make two keys that meet.

use bytes::Bytes;
use keyspace::{Base, DecodeError, Fold, LeaseRow, NoteRow, Row};
use kv::{KeyspaceName, LeaseId, Revision};
use sha2::{Digest as _, Sha256};

use super::CELL_NAME_BYTES_MAX;
use crate::{
    checksum::{open, seal, unchecked},
    stored::Broken,
};

const KEY: u8 = b'k';
const LONG_KEY: u8 = b'K';
const LEASE: u8 = b's';
const NOTE: u8 = b'n';

/// What all of a fold changes, by name.
pub(super) fn cells_of(keyspace: &KeyspaceName, fold: Fold) -> Vec<(Bytes, Option<Bytes>)> {
    let mut cells = Vec::with_capacity(fold.rows.len());
    for (key, row) in fold.rows {
        let name = key_name(&key);
        let value = row.map(|row| row_value(keyspace, &name, &row));
        cells.push((name, value));
    }
    for (id, lease) in fold.leases {
        let name = lease_name(id);
        let value = lease.map(|lease| sealed(keyspace, &name, |out| lease.encode(out)));
        cells.push((name, value));
    }
    for (note, row) in fold.notes {
        let name = tagged(NOTE, &note);
        let value = row.map(|row| sealed(keyspace, &name, |out| row.encode(out)));
        cells.push((name, value));
    }
    cells
}

/// Adds what a stored cell holds to a base.
pub(super) fn read_into(
    base: &mut Base,
    keyspace: &KeyspaceName,
    name: &[u8],
    value: &[u8],
) -> Result<(), Broken> {
    let body = open(&seal_name(keyspace, name), value).ok_or(Broken::Checksum)?;
    let (kind, rest) = name.split_first().ok_or(Broken::Misplaced)?;
    match *kind {
        KEY => base.rows.push(Row::decode(Bytes::copy_from_slice(rest), body)?),
        LONG_KEY => {
            let (length, body) = body.split_first_chunk::<4>().ok_or(DecodeError::Truncated)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (key, body) = body.split_at_checked(length).ok_or(DecodeError::Truncated)?;
            if key_name(key) != name {
                return Err(Broken::Misplaced);
            }
            base.rows.push(Row::decode(Bytes::copy_from_slice(key), body)?);
        }
        LEASE => base.leases.push(LeaseRow::decode(body)?),
        NOTE => base.notes.push(NoteRow::decode(Bytes::copy_from_slice(rest), body)?),
        other => return Err(DecodeError::UnknownKind(other).into()),
    }
    Ok(())
}

/// What a damaged row says of itself, if that can still be read: a hint for
/// people, and nothing to believe.
pub(super) fn claimed_revision(name: &[u8], value: &[u8]) -> Option<Revision> {
    let body = unchecked(value)?;
    let body = match *name.first()? {
        KEY => body,
        LONG_KEY => {
            let (length, rest) = body.split_first_chunk::<4>()?;
            rest.get(u32::from_le_bytes(*length) as usize..)?
        }
        _ => return None,
    };
    Row::decode(Bytes::new(), body).ok().map(|row| row.mod_revision)
}

pub(super) fn key_name(key: &[u8]) -> Bytes {
    match key.len() < CELL_NAME_BYTES_MAX {
        true => tagged(KEY, key),
        false => tagged(LONG_KEY, &Sha256::digest(key)),
    }
}

fn lease_name(id: LeaseId) -> Bytes {
    tagged(LEASE, &id.0.to_be_bytes())
}

fn tagged(kind: u8, rest: &[u8]) -> Bytes {
    [&[kind], rest].concat().into()
}

fn row_value(keyspace: &KeyspaceName, name: &[u8], row: &Row) -> Bytes {
    sealed(keyspace, name, |out| {
        if name[0] == LONG_KEY {
            let length = u32::try_from(row.key.len()).expect("keys are bounded by kilobytes");
            out.extend(length.to_le_bytes());
            out.extend_from_slice(&row.key);
        }
        row.encode(out);
    })
}

fn sealed(keyspace: &KeyspaceName, name: &[u8], encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::new();
    encode(&mut out);
    seal(&seal_name(keyspace, name), &mut out);
    out.into()
}

/// The checksum covers where a cell is stored.
fn seal_name(keyspace: &KeyspaceName, name: &[u8]) -> Vec<u8> {
    [keyspace.as_str().as_bytes(), &[0], name].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyspace::{Change, Record};

    use super::*;

    #[test]
    fn what_a_fold_holds_is_read_back_and_only_from_its_place() {
        let keyspace = KeyspaceName::default();
        let long = Bytes::from(vec![b'x'; 2 * CELL_NAME_BYTES_MAX]);
        let put = |key: &Bytes| Change::Put {
            key: key.clone(),
            value: "v".into(),
            create_revision: Revision(2),
            version: 1,
            lease: None,
        };
        let changes = vec![put(&Bytes::from("short")), put(&long)];
        let mut fold = Fold::default();
        fold.add(Record::Txn { revision: Revision(2), changes });
        fold.add(Record::LeaseGranted { id: LeaseId(7), ttl: Duration::from_secs(9) });
        fold.add(Record::Note { name: "note".into(), value: Some("x".into()) });
        let mut expected = Base::default();
        expected.apply(Fold { revision: Revision(0), ..fold.clone() });

        let mut base = Base::default();
        for (name, value) in cells_of(&keyspace, fold) {
            assert!(name.len() <= CELL_NAME_BYTES_MAX);
            let value = value.expect("nothing was removed");
            read_into(&mut base, &keyspace, &name, &value).expect("it is whole");
            let elsewhere = KeyspaceName::new("elsewhere").expect("a good name");
            assert!(read_into(&mut Base::default(), &elsewhere, &name, &value).is_err());
        }
        assert_eq!(base, expected);
    }
}
