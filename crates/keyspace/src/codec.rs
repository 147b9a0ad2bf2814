//! Records and rows as bytes: a format version, a kind, then varints and
//! length-prefixed bytes. Decoding takes any input and never panics; the
//! engine's checksum tells damage from a mistake of ours.

use std::time::Duration;

use bytes::Bytes;
use kv::{LeaseId, Revision};

use crate::{Change, Handle, LeaseRow, NoteRow, Record, Row};

/// First byte of everything durable. A release reads its own and the one
/// before, and refuses newer ones.
pub const FORMAT_VERSION: u8 = 1;

const KIND_TXN: u8 = 1;
const KIND_LEASE_GRANTED: u8 = 2;
const KIND_LEASE_REVOKED: u8 = 3;
const KIND_COMPACT: u8 = 4;
const KIND_NOTE: u8 = 5;
const KIND_ROW: u8 = 16;
const KIND_LEASE_ROW: u8 = 17;
const KIND_NOTE_ROW: u8 = 18;
/// A row that was not the first change of its transaction.
const KIND_ROW_SUB: u8 = 19;

const CHANGE_PUT: u8 = 1;
const CHANGE_DELETE: u8 = 2;

/// A varint of a `u64` is at most this long.
const VARINT_BYTES_MAX: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("written in format {0}, and this release reads up to {FORMAT_VERSION}")]
    NewerFormat(u8),
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    #[error("ends too early")]
    Truncated,
    #[error("a number is longer than any we write")]
    Overlong,
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    #[error("a name is no text")]
    NotText,
    #[error("no note that this release knows")]
    UnknownNote,
}

// === impl Record ===

impl Record {
    /// Appends the encoded record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT_VERSION);
        match self {
            Record::Txn { revision, changes } => {
                out.push(KIND_TXN);
                put_varint(out, revision.0);
                put_varint(out, changes.len() as u64);
                changes.iter().for_each(|change| change.encode(out));
            }
            Record::LeaseGranted { id, ttl } => {
                out.push(KIND_LEASE_GRANTED);
                put_lease(out, Some(*id));
                put_duration(out, *ttl);
            }
            Record::LeaseRevoked { id } => {
                out.push(KIND_LEASE_REVOKED);
                put_lease(out, Some(*id));
            }
            Record::Compact { revision } => {
                out.push(KIND_COMPACT);
                put_varint(out, revision.0);
            }
            Record::Note { name, value } => {
                out.push(KIND_NOTE);
                put_bytes(out, name);
                out.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    put_bytes(out, value);
                }
            }
        }
    }

    /// Decodes exactly one record.
    pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
        let mut input = Input(bytes);
        let record = match input.kind()? {
            KIND_TXN => Record::Txn { revision: input.revision()?, changes: input.changes()? },
            KIND_LEASE_GRANTED => {
                Record::LeaseGranted { id: input.lease_id()?, ttl: input.duration()? }
            }
            KIND_LEASE_REVOKED => Record::LeaseRevoked { id: input.lease_id()? },
            KIND_COMPACT => Record::Compact { revision: input.revision()? },
            KIND_NOTE => Record::Note { name: input.bytes()?, value: input.optional_bytes()? },
            other => return Err(DecodeError::UnknownKind(other)),
        };
        input.end()?;
        Ok(record)
    }
}

// === impl Row ===

impl Row {
    /// Appends the encoded row, without its key, which names it.
    ///
    /// # Panics
    /// If the value is not inline: a base is where values are fetched from.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Handle::Inline(value) = &self.value else {
            panic!("a base row holds its value");
        };
        match self.sub {
            0 => out.extend([FORMAT_VERSION, KIND_ROW]),
            sub => {
                out.extend([FORMAT_VERSION, KIND_ROW_SUB]);
                put_varint(out, u64::from(sub));
            }
        }
        put_varint(out, self.create_revision.0);
        put_varint(out, self.mod_revision.0);
        put_varint(out, self.version);
        put_lease(out, self.lease);
        out.extend_from_slice(value);
    }

    pub fn decode(key: Bytes, bytes: &[u8]) -> Result<Row, DecodeError> {
        let mut input = Input(bytes);
        let sub = match input.kind()? {
            KIND_ROW => 0,
            KIND_ROW_SUB => u32::try_from(input.varint()?).map_err(|_| DecodeError::Overlong)?,
            other => return Err(DecodeError::UnknownKind(other)),
        };
        Ok(Row {
            key,
            sub,
            create_revision: input.revision()?,
            mod_revision: input.revision()?,
            version: input.varint()?,
            lease: input.lease()?,
            value: Handle::Inline(Bytes::copy_from_slice(input.0)),
        })
    }
}

// === impl LeaseRow ===

impl LeaseRow {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([FORMAT_VERSION, KIND_LEASE_ROW]);
        put_lease(out, Some(self.id));
        put_duration(out, self.ttl);
    }

    pub fn decode(bytes: &[u8]) -> Result<LeaseRow, DecodeError> {
        let mut input = Input(bytes);
        let row = match input.kind()? {
            KIND_LEASE_ROW => LeaseRow { id: input.lease_id()?, ttl: input.duration()? },
            other => return Err(DecodeError::UnknownKind(other)),
        };
        input.end()?;
        Ok(row)
    }
}

// === impl NoteRow ===

impl NoteRow {
    /// Appends the encoded note, without its name, which is its key.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([FORMAT_VERSION, KIND_NOTE_ROW]);
        out.extend_from_slice(&self.value);
    }

    pub fn decode(name: Bytes, bytes: &[u8]) -> Result<NoteRow, DecodeError> {
        let mut input = Input(bytes);
        match input.kind()? {
            KIND_NOTE_ROW => Ok(NoteRow { name, value: Bytes::copy_from_slice(input.0) }),
            other => Err(DecodeError::UnknownKind(other)),
        }
    }
}

// === impl Change ===

impl Change {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Change::Put { key, value, create_revision, version, lease } => {
                out.push(CHANGE_PUT);
                put_bytes(out, key);
                put_bytes(out, value);
                put_varint(out, create_revision.0);
                put_varint(out, *version);
                put_lease(out, *lease);
            }
            Change::Delete { key } => {
                out.push(CHANGE_DELETE);
                put_bytes(out, key);
            }
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// No lease is zero. Ids are random 63-bit numbers, so fixed length is shorter.
fn put_lease(out: &mut Vec<u8>, lease: Option<LeaseId>) {
    match lease {
        None => out.push(0),
        Some(LeaseId(id)) => {
            out.push(1);
            out.extend(id.to_le_bytes());
        }
    }
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put_varint(out, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

/// What is left to decode.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

// === impl Input ===

impl<'a> Input<'a> {
    fn kind(&mut self) -> Result<u8, DecodeError> {
        match self.byte()? {
            FORMAT_VERSION => self.byte(),
            other => Err(DecodeError::NewerFormat(other)),
        }
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(DecodeError::Trailing(more)),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for position in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * position as u32;
            if bits << shift >> shift != bits {
                return Err(DecodeError::Overlong);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Overlong)
    }

    /// A copy of its own, so that no batch is kept for the sake of one key.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::NotText)
    }

    fn revision(&mut self) -> Result<Revision, DecodeError> {
        self.varint().map(Revision)
    }

    fn lease(&mut self) -> Result<Option<LeaseId>, DecodeError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.id().map(Some),
            other => Err(DecodeError::UnknownKind(other)),
        }
    }

    fn lease_id(&mut self) -> Result<LeaseId, DecodeError> {
        self.lease()?.ok_or(DecodeError::UnknownKind(0))
    }

    fn id(&mut self) -> Result<LeaseId, DecodeError> {
        let bytes = self.take(8)?;
        Ok(LeaseId(i64::from_le_bytes(bytes.try_into().expect("eight bytes were taken"))))
    }

    fn duration(&mut self) -> Result<Duration, DecodeError> {
        self.varint().map(Duration::from_millis)
    }

    fn optional_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            other => Err(DecodeError::UnknownKind(other)),
        }
    }

    fn changes(&mut self) -> Result<Vec<Change>, DecodeError> {
        let count = self.varint()?;
        // Each change is at least two bytes, so a false count cannot make us
        // reserve more than the input is long.
        let count_max = self.0.len() / 2;
        let mut changes = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(count_max));
        for _ in 0..count {
            changes.push(self.change()?);
        }
        Ok(changes)
    }

    fn change(&mut self) -> Result<Change, DecodeError> {
        match self.byte()? {
            CHANGE_PUT => Ok(Change::Put {
                key: self.bytes()?,
                value: self.bytes()?,
                create_revision: self.revision()?,
                version: self.varint()?,
                lease: self.lease()?,
            }),
            CHANGE_DELETE => Ok(Change::Delete { key: self.bytes()? }),
            other => Err(DecodeError::UnknownKind(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out);
        out
    }

    fn sample() -> Record {
        let put = Change::Put {
            key: "a key".into(),
            value: "a value".into(),
            create_revision: Revision(3),
            version: 300,
            lease: Some(LeaseId(i64::MAX)),
        };
        let delete = Change::Delete { key: "gone".into() };
        Record::Txn { revision: Revision(u64::MAX), changes: vec![put, delete] }
    }

    #[test]
    fn a_record_of_a_newer_format_is_refused_by_that_name() {
        let mut bytes = encoded(&sample());
        bytes[0] = FORMAT_VERSION + 1;
        assert_eq!(Record::decode(&bytes), Err(DecodeError::NewerFormat(FORMAT_VERSION + 1)));
        bytes[..2].copy_from_slice(&[FORMAT_VERSION, 9]);
        assert_eq!(Record::decode(&bytes), Err(DecodeError::UnknownKind(9)));
    }

    #[test]
    fn every_shortened_or_lengthened_record_is_refused() {
        let bytes = encoded(&sample());
        assert_eq!(Record::decode(&bytes), Ok(sample()));
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Record::decode(&longer), Err(DecodeError::Trailing(1)));
        for value in [None, Some("what it says".into())] {
            let note = Record::Note { name: "a note".into(), value };
            let bytes = encoded(&note);
            assert_eq!(Record::decode(&bytes), Ok(note));
            for end in 0..bytes.len() {
                assert!(Record::decode(&bytes[..end]).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn a_row_keeps_its_place_in_its_transaction() {
        for sub in [0, 1, u32::MAX] {
            let value = Handle::Inline("a value".into());
            let (create_revision, mod_revision) = (Revision(3), Revision(300));
            let key = Bytes::from("a key");
            let row = Row {
                key: key.clone(),
                value,
                create_revision,
                mod_revision,
                sub,
                version: 4,
                lease: None,
            };
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            assert_eq!(Row::decode(key, &bytes), Ok(row));
        }
    }

    #[test]
    fn a_false_count_reserves_no_memory() {
        let mut bytes = vec![FORMAT_VERSION, KIND_TXN, 1];
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(Record::decode(&bytes), Err(DecodeError::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            kind in 0u8..20,
        ) {
            let _ = Record::decode(&bytes);
            let framed = [&[FORMAT_VERSION, kind], &bytes[..]].concat();
            let _ = Record::decode(&framed);
            let _ = Row::decode(Bytes::new(), &framed);
            let _ = LeaseRow::decode(&framed);
            let _ = NoteRow::decode(Bytes::new(), &framed);
        }
    }
}
