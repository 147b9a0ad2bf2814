//! Both sides read once more: as many keys, and the same.

use kv::{KeyRange, Kv, Revision};

use super::{ImportError, copy::Pages};
use crate::crc32c::Crc32c;

/// Of keys and values, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Of the source.
    pub revision: Revision,
    pub keys: u64,
    pub bytes: u64,
    pub hash: u32,
}

#[derive(Default)]
struct Sum {
    keys: u64,
    bytes: u64,
    hash: Crc32c,
}

/// The source as of `revision`, or as it is if that is compacted meanwhile.
pub(super) async fn compare(
    from: &dyn Kv,
    to: &dyn Kv,
    range: &KeyRange,
    revision: Revision,
) -> Result<Compared, ImportError> {
    let source = match sum(from, range, Some(revision)).await {
        Err(kv::Error::Compacted { .. }) => sum(from, range, None).await,
        source => source,
    };
    let source = source.map_err(ImportError::Source)?;
    let target = sum(to, range, None).await.map_err(ImportError::Target)?;
    let compared =
        Compared { revision, keys: source.keys, bytes: source.bytes, hash: source.hash.finish() };
    let found = (target.keys, target.bytes, target.hash.finish());
    match (compared.keys, compared.bytes, compared.hash) == found {
        true => Ok(compared),
        false => Err(ImportError::Differs(format!(
            "at revision {revision} the source has {} keys of {} bytes (hash {:08x}), and the \
             target {} of {} (hash {:08x})",
            compared.keys, compared.bytes, compared.hash, found.0, found.1, found.2
        ))),
    }
}

async fn sum(kv: &dyn Kv, range: &KeyRange, revision: Option<Revision>) -> Result<Sum, kv::Error> {
    let mut sum = Sum::default();
    let mut pages = Pages::new(kv, range, revision);
    while let Some((_, page)) = pages.next().await? {
        for kv in page {
            sum.keys += 1;
            sum.bytes += (kv.key.len() + kv.value.len()) as u64;
            // With their lengths, so that no two lists read the same.
            for part in [&kv.key, &kv.value] {
                sum.hash.add(&(part.len() as u64).to_le_bytes());
                sum.hash.add(part);
            }
        }
    }
    Ok(sum)
}
