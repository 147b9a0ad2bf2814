//! A batch as bytes, and what can be wrong with anything stored.

use keyspace::{DecodeError, FORMAT_VERSION, Record};
use kv::Revision;

use crate::{
    Batch, Epoch, Error, Seq,
    checksum::{open, seal},
};

/// A batch is bounded by the requests in it, but one delete can take any
/// number of keys; the library counts bytes in 32 bits.
pub(crate) const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Format, epoch, seq, revision, count of records.
const BATCH_HEADER_BYTES: usize = 1 + 8 + 8 + 8 + 4;

/// A batch, ready but for what only the committer knows.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    pub epoch: Epoch,
    pub seq: Seq,
    /// Where it brings the keyspace, if it spends a revision.
    pub revision: Option<Revision>,
    bytes: Vec<u8>,
}

/// A batch as it was stored.
#[derive(Debug)]
pub(crate) struct StoredBatch {
    pub revision: Revision,
    pub records: Vec<Record>,
}

/// Why a stored value cannot be used; the reader knows which one it was.
#[derive(Debug)]
pub(crate) enum Broken {
    Checksum,
    Shape(DecodeError),
    /// Stored where another was expected.
    Misplaced,
}

// === impl Broken ===

impl Broken {
    pub(crate) fn of(self, keyspace: &str, what: impl Into<String>) -> Error {
        let (keyspace, what) = (keyspace.to_owned(), what.into());
        let problem = match self {
            Broken::Checksum => "its checksum does not match".to_owned(),
            Broken::Misplaced => "it belongs to another place".to_owned(),
            Broken::Shape(source @ DecodeError::NewerFormat(_)) => {
                return Error::Newer { keyspace, what, source };
            }
            Broken::Shape(source) => source.to_string(),
        };
        Error::Corrupt { keyspace, what, problem }
    }
}

impl From<DecodeError> for Broken {
    fn from(error: DecodeError) -> Broken {
        Broken::Shape(error)
    }
}

// === impl EncodedBatch ===

impl EncodedBatch {
    pub(crate) fn new(batch: &Batch) -> Result<EncodedBatch, Error> {
        let mut bytes = vec![0; BATCH_HEADER_BYTES];
        for record in &batch.records {
            let length_at = bytes.len();
            bytes.extend([0; 4]);
            record.encode(&mut bytes);
            let length = (bytes.len() - length_at - 4) as u32;
            bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            if bytes.len() > BATCH_BYTES_MAX {
                return Err(Error::TooLarge { bytes: bytes.len(), max: BATCH_BYTES_MAX });
            }
        }
        let header = &mut bytes[..BATCH_HEADER_BYTES];
        header[0] = FORMAT_VERSION;
        header[1..9].copy_from_slice(&batch.epoch.0.to_le_bytes());
        header[9..17].copy_from_slice(&batch.seq.0.to_le_bytes());
        header[25..29].copy_from_slice(&(batch.records.len() as u32).to_le_bytes());
        let revision = batch.records.iter().filter_map(Record::revision).next_back();
        Ok(EncodedBatch { epoch: batch.epoch, seq: batch.seq, revision, bytes })
    }

    /// The stored form under `name`, once it is known where the keyspace stands
    /// after it.
    pub(crate) fn finish(mut self, name: &[u8], revision: Revision) -> Vec<u8> {
        self.bytes[17..25].copy_from_slice(&revision.0.to_le_bytes());
        seal(name, &mut self.bytes);
        self.bytes
    }
}

/// Which batch this is, and where the keyspace stands after it.
pub(crate) fn batch_header(stored: &[u8]) -> Result<(Seq, Revision), Broken> {
    let header = stored.get(..BATCH_HEADER_BYTES).ok_or(DecodeError::Truncated)?;
    if header[0] != FORMAT_VERSION {
        return Err(DecodeError::NewerFormat(header[0]).into());
    }
    Ok((Seq(number(&header[9..17])), Revision(number(&header[17..25]))))
}

// === impl StoredBatch ===

impl StoredBatch {
    pub(crate) fn decode(name: &[u8], stored: &[u8]) -> Result<StoredBatch, Broken> {
        let body = open(name, stored).ok_or(Broken::Checksum)?;
        let (header, mut rest) =
            body.split_at_checked(BATCH_HEADER_BYTES).ok_or(DecodeError::Truncated)?;
        if header[0] != FORMAT_VERSION {
            return Err(DecodeError::NewerFormat(header[0]).into());
        }
        let revision = Revision(number(&header[17..25]));
        let mut records = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let (record, after) = after.split_at_checked(length).ok_or(DecodeError::Truncated)?;
            records.push(Record::decode(record)?);
            rest = after;
        }
        if !rest.is_empty() || records.len() as u64 != number(&header[25..29]) {
            return Err(DecodeError::Truncated.into());
        }
        Ok(StoredBatch { revision, records })
    }
}

/// Little-endian, at most eight bytes.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
