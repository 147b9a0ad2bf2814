//! What this machine can do at most: the disk alone.

use std::{
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::Duration,
};

use tokio::time::Instant;

/// What a record takes beside its key and value.
const RECORD_BYTES: usize = 64;

/// As a log's journal: written over from the start when it is full, so that
/// only data is synced.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

const RUN: Duration = Duration::from_millis(1500);

/// Groups of this many records that a file takes in a second, each group one
/// write and one `fdatasync`.
pub(crate) fn syncs_per_second(
    folder: &Path,
    group: usize,
    value_bytes: usize,
) -> std::io::Result<f64> {
    let path = folder.join("ceiling");
    let mut file = std::fs::File::create(&path)?;
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..JOURNAL_BYTES / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let records = vec![7; group * (value_bytes + RECORD_BYTES)];
    let (start, mut groups, mut at) = (Instant::now(), 0u32, 0);
    while start.elapsed() < RUN {
        if at + records.len() as u64 > JOURNAL_BYTES {
            file.seek(SeekFrom::Start(0))?;
            at = 0;
        }
        file.write_all(&records)?;
        file.sync_data()?;
        at += records.len() as u64;
        groups += 1;
    }
    let rate = f64::from(groups) / start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}
