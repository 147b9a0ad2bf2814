//! What is left of a first start that was cut short.
//!
//! The library makes its folder in steps and writes its `version` last; cut
//! short before that, it will neither open the folder nor make it. Nothing can
//! have been acknowledged by then, so we remove what is there and begin again,
//! but only if it holds nothing at all: whatever was once written to is never
//! removed, whichever file it lacks.

use std::{fs, io, path::Path};

use super::journal;

const VERSION_FILE: &str = "version";
pub(super) const TREES_FOLDER: &str = "keyspaces";

/// Removes an empty shell. The caller holds the folder's lock.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    if has_bytes(&folder.join(VERSION_FILE))? {
        return Ok(());
    }
    let journals = journal::journals(folder)?;
    let trees = folder.join(TREES_FOLDER);
    for journal in &journals {
        if !journal::is_blank(journal)? {
            return Ok(());
        }
    }
    if trees.exists() {
        if fs::read_dir(&trees)?.next().is_some() {
            return Ok(());
        }
        fs::remove_dir(&trees)?;
    }
    for journal in journals {
        tracing::info!(path = %journal.display(), "removing what a start left that was cut short");
        fs::remove_file(journal)?;
    }
    match fs::remove_file(folder.join(VERSION_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn has_bytes(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
