//! A checksum of what a keyspace holds, to compare two copies of it.

use keyspace::Keyspace;
use kv::{Error, KeyRange, KeyValue, RangeRequest, Revision};

use crate::{request::KeyspaceHash, vault::Vault};

/// FNV-1a's 32-bit parameters (Fowler, Noll, Vo).
const OFFSET: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// Of everything alive at `revision`, the newest visible one unless given.
pub(crate) async fn of_keyspace(
    keyspace: &Keyspace,
    vault: &Vault,
    visible: Revision,
    revision: Option<Revision>,
) -> Result<KeyspaceHash, Error> {
    let everything = RangeRequest { revision, ..RangeRequest::new(KeyRange::prefix("")) };
    let all = vault.range(keyspace, &everything, visible).await?;
    Ok(KeyspaceHash {
        hash: of(&all.kvs),
        revision: revision.unwrap_or(visible),
        compacted: keyspace.compacted(),
    })
}

/// Of keys, values and revisions in the order given. Every part is preceded by
/// its length, so that no two different lists read the same.
fn of(kvs: &[KeyValue]) -> u32 {
    kvs.iter().fold(OFFSET, |hash, kv| {
        let hash = part(part(hash, &kv.key), &kv.value);
        let lease = kv.lease.map_or(0, |lease| lease.0);
        [kv.create_revision.0, kv.mod_revision.0, kv.version]
            .into_iter()
            .map(u64::to_le_bytes)
            .chain([lease.to_le_bytes()])
            .fold(hash, |hash, number| add(hash, &number))
    })
}

fn part(hash: u32, bytes: &[u8]) -> u32 {
    add(add(hash, &(bytes.len() as u64).to_le_bytes()), bytes)
}

fn add(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME))
}
