//! A keyspace built from its log, piece by piece: of its values, no more are in
//! memory than may stay there.

use engine::{Epoch, Piece, Seq};
use keyspace::{Keyspace, Loader};
use kv::Revision;
use rt::Millis;

use crate::{batch, claim::ClaimError, vault::Vault};

pub(crate) struct Reading {
    pub epoch: Epoch,
    pub seq: Seq,
    pub keyspace: Keyspace,
    /// Revisions in the log, and how much each wrote.
    pub wrote: Vec<(Revision, usize)>,
}

/// Reads all of a keyspace as of one moment.
pub(crate) async fn read(
    vault: &Vault,
    rules: keyspace::Config,
    values_bytes_max: usize,
    now: Millis,
) -> Result<Reading, ClaimError> {
    let mut scan = vault.scan().await?;
    let engine::ScanHead { epoch, seq, base, compacted } = scan.head;
    let mut loader = Loader::new(rules, base, compacted, values_bytes_max, now);
    let mut wrote = Vec::new();
    while let Some(piece) = scan.next().await? {
        match piece {
            Piece::Leases(leases) => leases.into_iter().for_each(|lease| loader.lease(lease)),
            Piece::Notes(notes) => {
                notes.into_iter().try_for_each(|note| loader.note(note))?;
            }
            Piece::Log(records) => {
                let sizes = records
                    .iter()
                    .filter_map(|record| Some((record.revision()?, batch::size(record))));
                wrote.extend(sizes);
                loader.log(records);
            }
            Piece::Rows(rows) => rows.into_iter().try_for_each(|row| loader.row(row))?,
        }
    }
    Ok(Reading { epoch, seq, keyspace: loader.finish()?, wrote })
}
