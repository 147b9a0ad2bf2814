//! The last good configuration, on disk: what a proxy starts with when its file
//! is missing or not sound.
//!
//! The first line says what the rest is and carries its checksum; the rest is
//! the file as it was, so that people can read it and put it back. Its place is
//! an option of the process and no key of the file, since it is needed when
//! there is no file to read the key from. It is never used silently: an error is
//! logged, and `polis_proxy_from_snapshot` is 1 until a sound file is there.

use std::{
    fmt::Write as _,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use rustix::fs::Mode;
use sha2::{Digest as _, Sha256};

use crate::config::{self, Config};

/// Another first line is of another version, and is not guessed at.
const TITLE: &str = "# polis proxy snapshot 1, sha256 ";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read the snapshot {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} is no snapshot of this version")]
    Version { path: String },
    #[error("{path} is not as it was written: its checksum differs")]
    Checksum { path: String },
    #[error("the snapshot: {0}")]
    Config(#[from] config::Error),
}

/// Where the last good configuration is kept.
#[derive(Clone, Debug)]
pub struct Snapshot(PathBuf);

// === impl Snapshot ===

impl Snapshot {
    #[must_use]
    pub fn at(path: &Path) -> Snapshot {
        Snapshot(path.to_owned())
    }

    pub fn load(&self) -> Result<Config, Error> {
        let path = || self.0.display().to_string();
        let text =
            fs::read_to_string(&self.0).map_err(|source| Error::Read { path: path(), source })?;
        let (title, text) = text.split_once('\n').unwrap_or_default();
        let sum = title.strip_prefix(TITLE).ok_or_else(|| Error::Version { path: path() })?;
        if sum != checksum(text) {
            return Err(Error::Checksum { path: path() });
        }
        Ok(Config::parse(text, &path())?)
    }

    /// Replaces what was kept, at once and as a whole. For its owner alone: a
    /// configuration tells much about a bank.
    pub(crate) fn keep(&self, text: &str) -> io::Result<()> {
        let whole = format!("{TITLE}{}\n{text}", checksum(text));
        if fs::read_to_string(&self.0).is_ok_and(|kept| kept == whole) {
            return Ok(());
        }
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = folder.join(name);
        let mut file = fs::File::create(&fresh)?;
        let written = rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(whole.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&fresh, &self.0));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written?;
        // The name is durable with its folder.
        fs::File::open(folder)?.sync_all()
    }
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[admin]\nlisten = \"127.0.0.1:9901\"\n";

    #[test]
    fn what_was_kept_comes_back_and_what_was_touched_does_not() {
        let name = format!("polis-snapshot-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let snapshot = Snapshot::at(&path);
        assert!(matches!(snapshot.load(), Err(Error::Read { .. })));
        snapshot.keep(TEXT).expect("written");
        assert!(snapshot.load().expect("sound").admin.is_some());
        let kept = fs::read_to_string(&path).expect("there");
        fs::write(&path, kept.replace("9901", "9902")).expect("write");
        assert!(matches!(snapshot.load(), Err(Error::Checksum { .. })));
        fs::write(&path, kept.replace("snapshot 1", "snapshot 2")).expect("write");
        assert!(matches!(snapshot.load(), Err(Error::Version { .. })));
        // Half of it, as after a full disk that was not noticed.
        fs::write(&path, &kept[..kept.len() - 9]).expect("write");
        assert!(matches!(snapshot.load(), Err(Error::Checksum { .. })));
        fs::write(&path, "").expect("write");
        assert!(matches!(snapshot.load(), Err(Error::Version { .. })));
        snapshot.keep(TEXT).expect("written anew");
        assert!(snapshot.load().is_ok());
        fs::remove_file(&path).expect("remove");
    }
}
