//! Wall clocks that can be set wrong, a center's own.
//!
//! The kernel has one wall clock for all. So a library (libfaketime, chosen with
//! `--clock-library`) stands between a center's processes and it, from their
//! start on, and adds what a file says; monotonic clocks stay as they are, as
//! they do on a machine whose wall clock is set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::data::DataDir;

#[derive(Clone, Debug)]
pub struct Library {
    library: PathBuf,
    /// A file for each center.
    folder: PathBuf,
}

// === impl Library ===

impl Library {
    pub fn new(library: &Path, data: &DataDir) -> anyhow::Result<Library> {
        let library = fs::canonicalize(library)
            .with_context(|| format!("--clock-library: find {}", library.display()))?;
        // Whatever is preloaded and missing is passed over with a warning, and
        // names with spaces or colons are taken for several.
        if library.to_string_lossy().contains([' ', ':']) {
            bail!("--clock-library: {} has a space or a colon", library.display());
        }
        let folder = data.path().join("clocks");
        fs::create_dir_all(&folder).context("create the folder of clocks")?;
        Ok(Library { library, folder })
    }

    /// For processes of a place, whose name may be a variable.
    #[must_use]
    pub fn envs(&self, place: &str) -> Vec<(String, String)> {
        let file = self.folder.join(place).display().to_string();
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // Files carry the machine's times.
            ("NO_FAKE_STAT", "1".to_owned()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Within a second, clocks of this place are so many seconds ahead.
    pub fn set(&self, place: &str, seconds: i64) -> anyhow::Result<()> {
        let (file, beside) = (self.folder.join(place), self.folder.join(format!("{place}.new")));
        fs::write(&beside, format!("{seconds:+}"))
            .and_then(|()| fs::rename(&beside, &file))
            .with_context(|| format!("set the clock of {place}"))
    }
}
