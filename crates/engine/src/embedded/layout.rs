//! What is stored under which key of the trees. Every value starts with a
//! format version and ends in a checksum.
//!
//! | tree | key | value |
//! |---|---|---|
//! | log | `c` | the cluster's id |
//! | log | `w` | where the log's files begin |
//! | log | `h` name | [`Head`]: who may write, and how far the log goes; behind its files |
//! | log | `m` id | [`Mark`]: how far the log was folded into the base |
//! | log | `s` id lease | a lease of the base |
//! | log | `n` id name | a note of the base |
//! | log | `l` id seq | a batch whose file was given back |
//! | rows | id key | a live key of the base |
//!
//! `id` is the keyspace's number, four bytes, so that long names are not
//! written with every batch. Numbers in keys are big-endian, so that byte order
//! is number order.

use bytes::Bytes;
use keyspace::{DecodeError, FORMAT_VERSION, LeaseRow, NoteRow, Row};
use kv::{KeyspaceName, LeaseId, Revision};

use super::wal::Start;
use crate::{
    Epoch, Error, Seq,
    checksum::{open, seal},
    stored::{Broken, number},
};

pub(super) const CLUSTER_KEY: &[u8] = b"c";
pub(super) const START_KEY: &[u8] = b"w";
const HEAD: u8 = b'h';
const MARK: u8 = b'm';
const LEASE: u8 = b's';
const NOTE: u8 = b'n';
const LOG: u8 = b'l';

/// A keyspace's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub id: Id,
    pub epoch: Epoch,
    /// Of the last batch.
    pub seq: Seq,
    /// Where the keyspace stands after it.
    pub revision: Revision,
}

/// The foot of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last batch that is in the base.
    pub seq: Seq,
    pub revision: Revision,
    pub compacted: Revision,
}

pub(super) fn head_key(name: &KeyspaceName) -> Vec<u8> {
    [&[HEAD], name.as_str().as_bytes()].concat()
}

pub(super) const HEAD_PREFIX: &[u8] = &[HEAD];

pub(super) fn head_name(key: &[u8]) -> Option<KeyspaceName> {
    KeyspaceName::new(std::str::from_utf8(key.strip_prefix(HEAD_PREFIX)?).ok()?).ok()
}

pub(super) fn mark_key(id: Id) -> Vec<u8> {
    tagged(MARK, id)
}

pub(super) fn lease_prefix(id: Id) -> Vec<u8> {
    tagged(LEASE, id)
}

pub(super) fn lease_key(id: Id, lease: LeaseId) -> Vec<u8> {
    let mut key = tagged(LEASE, id);
    key.extend(lease.0.to_be_bytes());
    key
}

pub(super) fn note_prefix(id: Id) -> Vec<u8> {
    tagged(NOTE, id)
}

pub(super) fn note_key(id: Id, name: &[u8]) -> Vec<u8> {
    let mut key = tagged(NOTE, id);
    key.extend_from_slice(name);
    key
}

pub(super) fn log_key(id: Id, seq: Seq) -> Vec<u8> {
    let mut key = tagged(LOG, id);
    key.extend(seq.0.to_be_bytes());
    key
}

pub(super) fn log_prefix(id: Id) -> Vec<u8> {
    tagged(LOG, id)
}

/// The seq in a key of the log.
pub(super) fn log_seq(key: &[u8]) -> Option<Seq> {
    Some(Seq(u64::from_be_bytes(*key.last_chunk()?)))
}

pub(super) fn row_prefix(id: Id) -> [u8; 4] {
    id.0.to_be_bytes()
}

pub(super) fn row_key(id: Id, key: &[u8]) -> Vec<u8> {
    [&row_prefix(id), key].concat()
}

fn tagged(tag: u8, id: Id) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + 4 + 8);
    key.push(tag);
    key.extend(id.0.to_be_bytes());
    key
}

pub(super) fn encode_cluster(id: u64) -> Vec<u8> {
    encode_numbers(CLUSTER_KEY, &[id])
}

pub(super) fn decode_cluster(stored: &[u8]) -> Result<u64, Error> {
    decode_numbers(CLUSTER_KEY, stored)
        .map(|[id]| id)
        .map_err(|broken| broken.of("-", "the cluster id"))
}

pub(super) fn encode_start(start: Start) -> Vec<u8> {
    encode_numbers(START_KEY, &[start.segment, start.frame])
}

pub(super) fn decode_start(stored: &[u8]) -> Result<Start, Broken> {
    let [segment, frame] = decode_numbers(START_KEY, stored)?;
    Ok(Start { segment, frame })
}

// === impl Head ===

impl Head {
    pub(super) fn new(id: Id) -> Head {
        Head { id, epoch: Epoch(0), seq: Seq(0), revision: Revision::FIRST }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode_numbers(&[HEAD], &[u64::from(self.id.0), self.epoch.0, self.seq.0, self.revision.0])
    }

    pub(super) fn decode(stored: &[u8]) -> Result<Head, Broken> {
        let [id, epoch, seq, revision] = decode_numbers(&[HEAD], stored)?;
        let id = Id(u32::try_from(id).map_err(|_| DecodeError::Overlong)?);
        Ok(Head { id, epoch: Epoch(epoch), seq: Seq(seq), revision: Revision(revision) })
    }
}

// === impl Mark ===

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        encode_numbers(&[MARK], &[self.seq.0, self.revision.0, self.compacted.0])
    }

    pub(super) fn decode(stored: &[u8]) -> Result<Mark, Broken> {
        let [seq, revision, compacted] = decode_numbers(&[MARK], stored)?;
        Ok(Mark { seq: Seq(seq), revision: Revision(revision), compacted: Revision(compacted) })
    }
}

/// What a batch is sealed with.
pub(super) fn batch_name(seq: Seq) -> [u8; 8] {
    seq.0.to_be_bytes()
}

pub(super) fn encode_row(row: &Row) -> Vec<u8> {
    let mut out = Vec::new();
    row.encode(&mut out);
    seal(&row.key, &mut out);
    out
}

pub(super) fn decode_row(key: &[u8], stored: &[u8]) -> Result<Row, Broken> {
    let body = open(key, stored).ok_or(Broken::Checksum)?;
    Ok(Row::decode(bytes::Bytes::copy_from_slice(key), body)?)
}

pub(super) fn encode_lease(lease: &LeaseRow) -> Vec<u8> {
    let mut out = Vec::new();
    lease.encode(&mut out);
    seal(&[LEASE], &mut out);
    out
}

pub(super) fn decode_lease(stored: &[u8]) -> Result<LeaseRow, Broken> {
    Ok(LeaseRow::decode(open(&[LEASE], stored).ok_or(Broken::Checksum)?)?)
}

/// A note's checksum covers its name, which is not in its value.
pub(super) fn encode_note(note: &NoteRow) -> Vec<u8> {
    let mut out = Vec::new();
    note.encode(&mut out);
    seal(&note.name, &mut out);
    out
}

pub(super) fn decode_note(name: &[u8], stored: &[u8]) -> Result<NoteRow, Broken> {
    let body = open(name, stored).ok_or(Broken::Checksum)?;
    Ok(NoteRow::decode(Bytes::copy_from_slice(name), body)?)
}

fn encode_numbers(name: &[u8], numbers: &[u64]) -> Vec<u8> {
    let mut out = vec![FORMAT_VERSION];
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    seal(name, &mut out);
    out
}

fn decode_numbers<const N: usize>(name: &[u8], stored: &[u8]) -> Result<[u64; N], Broken> {
    let body = open(name, stored).ok_or(Broken::Checksum)?;
    let (version, rest) = body.split_first().ok_or(DecodeError::Truncated)?;
    if *version != FORMAT_VERSION {
        return Err(DecodeError::NewerFormat(*version).into());
    }
    if rest.len() != N * 8 {
        return Err(DecodeError::Truncated.into());
    }
    Ok(std::array::from_fn(|i| number(&rest[i * 8..i * 8 + 8])))
}
