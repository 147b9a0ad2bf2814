//! A line or a few that outlive the process.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// Where a replica keeps them. Cheap to clone; clones are one notebook.
#[derive(Clone, Debug)]
pub enum Notebook {
    File(PathBuf),
    /// For as long as somebody holds it: a simulated machine's.
    Memory(Arc<Mutex<Option<String>>>),
}

// === impl Notebook ===

impl Default for Notebook {
    fn default() -> Notebook {
        Notebook::Memory(Arc::default())
    }
}

impl Notebook {
    /// What was written last, if anything was.
    pub(crate) fn read(&self) -> io::Result<Option<String>> {
        match self {
            Notebook::Memory(text) => Ok(lock(text).clone()),
            Notebook::File(path) => match fs::read_to_string(path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Either the old or the new text is there, whenever the machine stops.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let path = match self {
            Notebook::Memory(kept) => {
                *lock(kept) = Some(text.to_owned());
                return Ok(());
            }
            Notebook::File(path) => path,
        };
        let mut aside = path.as_os_str().to_owned();
        aside.push(".new");
        let mut file = File::create(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    /// The same, without holding up other tasks.
    pub(crate) async fn save(self, text: String) -> io::Result<()> {
        match self {
            Notebook::Memory(_) => self.write(&text),
            Notebook::File(_) => {
                let written = tokio::task::spawn_blocking(move || self.write(&text)).await;
                written.unwrap_or_else(|ended| Err(io::Error::other(ended)))
            }
        }
    }

    pub(crate) fn forget(&self) -> io::Result<()> {
        match self {
            Notebook::Memory(text) => *lock(text) = None,
            Notebook::File(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            },
        }
        Ok(())
    }

    /// For messages; empty, if there is none.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Notebook::File(path) => path.clone(),
            Notebook::Memory(_) => PathBuf::new(),
        }
    }
}

fn lock(text: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    text.lock().expect("nobody panics while holding it")
}
