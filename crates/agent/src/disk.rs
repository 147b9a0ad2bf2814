//! Manifests on disk, for an agent that starts while the API is away.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use topology::UnitName;

use crate::pod::SeenPod;

/// Format of a saved manifest. A higher one was written by a later release.
const FORMAT: u32 = 1;

#[derive(Clone, Debug)]
pub(crate) struct Manifests {
    folder: Arc<Path>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    format: u32,
    pub unit: String,
    pub pod: SeenPod,
}

// === impl Manifests ===

impl Manifests {
    pub(crate) fn open(folder: PathBuf) -> io::Result<Manifests> {
        fs::create_dir_all(&folder)?;
        Ok(Manifests { folder: folder.into() })
    }

    /// `uid` has been taken as a folder's name by the runtime's rules, or will
    /// be refused there; here it is only checked not to leave the folder.
    pub(crate) fn save(&self, unit: &UnitName, pod: &SeenPod, uid: &str) -> io::Result<()> {
        let path = self.path(uid)?;
        let saved = Saved { format: FORMAT, unit: unit.to_string(), pod: pod.clone() };
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&saved)?)?;
        fs::rename(fresh, path)
    }

    pub(crate) fn remove(&self, uid: &str) -> io::Result<()> {
        match fs::remove_file(self.path(uid)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Those that can be read; the API knows the others.
    pub(crate) fn load(&self) -> io::Result<Vec<Saved>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = fs::read(&path)
                .and_then(|text| serde_json::from_slice::<Saved>(&text).map_err(io::Error::from));
            match read {
                Ok(saved) if saved.format <= FORMAT => all.push(saved),
                Ok(_) => tracing::warn!(path = %path.display(), "a manifest of a later release"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an unreadable manifest");
                }
            }
        }
        Ok(all)
    }

    fn path(&self, uid: &str) -> io::Result<PathBuf> {
        if uid.is_empty() || uid.contains(['/', '\0']) || uid.starts_with('.') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a uid that is no file name"));
        }
        Ok(self.folder.join(format!("{uid}.json")))
    }
}
