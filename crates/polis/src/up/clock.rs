//! Wall clocks that can be set wrong: a center's, or one of its processes'.
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

use super::fault::{Part, SERVER};
use crate::data::DataDir;

/// The program beside the server that has a clock of its own.
pub const LEDGER: &str = "ledger";

#[derive(Clone, Debug)]
pub struct Library {
    library: PathBuf,
    /// A file for each clock.
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

    /// Within a second, clocks of this center, the store or one process are so
    /// many seconds ahead.
    pub fn set(&self, name: &str, seconds: i64) -> anyhow::Result<()> {
        files(name).iter().try_for_each(|place| {
            let (file, beside) =
                (self.folder.join(place), self.folder.join(format!("{place}.new")));
            fs::write(&beside, format!("{seconds:+}"))
                .and_then(|()| fs::rename(&beside, &file))
                .with_context(|| format!("set the clock of {place}"))
        })
    }
}

/// The place of a center's ledgers, whose name may be a variable.
#[must_use]
pub fn of_ledgers(center: &str) -> String {
    format!("{center}.{LEDGER}")
}

/// Whether all of these have clocks that can be set.
#[must_use]
pub fn is_of(names: &[String]) -> bool {
    let parts = names.iter().filter_map(|name| Part::of(name));
    parts.map(|part| part.program).all(|program| [SERVER, LEDGER].contains(&program))
}

/// The files of what is named: a center's clocks are its server's, with all that
/// `up` runs beside it, and its ledgers'.
fn files(name: &str) -> Vec<String> {
    match Part::of(name) {
        None => vec![name.to_owned(), of_ledgers(name)],
        Some(Part { center, program: LEDGER }) => vec![of_ledgers(center)],
        Some(Part { center, .. }) => vec![center.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_has_a_clock_of_its_own_that_its_center_sets_too() {
        assert_eq!(files("east-1"), ["east-1", "east-1.ledger"]);
        assert_eq!(files("east-1/ledger"), ["east-1.ledger"]);
        assert_eq!(files("east-1/server"), ["east-1"]);
        assert!(is_of(&["east-1/ledger".into()]) && !is_of(&["east-1/guardian".into()]));
    }
}
