//! A folder for one server, removed with it.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const PREFIX: &str = "polis-testkit-";

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Scratch(PathBuf);

// === impl Scratch ===

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        remove_orphans();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{PREFIX}{}-{number}-{name}", process::id());
        let path = std::env::temp_dir().join(unique);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("create a folder for a server");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// What shared servers and killed tests leave: nobody else removes it, and it
/// is hundreds of megabytes. What a failed test keeps for a look stays until
/// the next run.
fn remove_orphans() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
