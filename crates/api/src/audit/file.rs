//! The file that events are appended to, and those it was before: they are named
//! and dropped as kube-apiserver (lumberjack) does, so that whoever collects
//! them finds them.
//!
//! ```text
//! audit.log                               what is written now
//! audit-2026-11-23T08-00-00.000.log       until when another one was
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use time::{
    Duration, OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};

use crate::{object, settings::AuditLog};

/// Of the time in a name, UTC.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]-[minute]-[second].[subsecond digits:3]");

/// Nobody else reads who did what.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Stands for the process's own output.
const STDOUT: &str = "-";

pub struct Out {
    settings: AuditLog,
    /// None of the process's own output, and of a file until it is opened again.
    file: Option<File>,
    bytes: u64,
    /// Of what can grow, be cut and be moved: no pipe, no device.
    is_regular: bool,
    /// In the name of the last file that was put aside.
    rotated_at: Option<OffsetDateTime>,
}

// === impl Out ===

impl Out {
    /// Makes the folder and the file where there are none.
    pub fn open(settings: AuditLog) -> io::Result<Out> {
        let mut out = Out { settings, file: None, bytes: 0, is_regular: false, rotated_at: None };
        if !out.is_stdout() {
            out.reopen()?;
            out.prune();
        }
        Ok(out)
    }

    /// Whether a line still belongs into this file, after what is about to be
    /// written. One that is too large by itself gets a file of its own.
    pub fn has_room(&self, pending: usize, line: usize) -> bool {
        let max = self.settings.file_bytes_max;
        let before = self.bytes + pending as u64;
        max == 0 || !self.is_regular || before == 0 || before + line as u64 <= max
    }

    /// Appends whole lines. When it fails there is no part of them, where that
    /// can be taken back.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_stdout() {
            let mut stdout = io::stdout().lock();
            return stdout.write_all(lines).and_then(|()| stdout.flush());
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let file = self.file.as_mut().expect("it was opened just now");
        if let Err(error) = file.write_all(lines) {
            if self.is_regular {
                let _ = file.set_len(self.bytes);
            }
            // It may be another one by the next time.
            self.file = None;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Begins another file, and drops those that are too many or too old.
    pub fn rotate(&mut self) -> io::Result<()> {
        let path = &self.settings.path;
        // Two within a millisecond are two, and the later one has the later name
        // even when the earlier was dropped already.
        let after_last = self.rotated_at.map(|last| last + Duration::MILLISECOND);
        let mut at = object::now().max(after_last.unwrap_or(OffsetDateTime::UNIX_EPOCH));
        let mut kept = name_of(path, at);
        while kept.exists() {
            at += Duration::MILLISECOND;
            kept = name_of(path, at);
        }
        fs::rename(path, &kept)?;
        self.rotated_at = Some(at);
        self.file = None;
        self.reopen()?;
        self.prune();
        Ok(())
    }

    fn is_stdout(&self) -> bool {
        self.settings.path.as_os_str() == STDOUT
    }

    fn reopen(&mut self) -> io::Result<()> {
        let path = &self.settings.path;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
        let metadata = file.metadata()?;
        (self.bytes, self.is_regular) = (metadata.len(), metadata.is_file());
        self.file = Some(file);
        Ok(())
    }

    /// What cannot be dropped now is dropped another time.
    fn prune(&self) {
        if !self.is_regular {
            return;
        }
        let AuditLog { path, backups_max, age_days_max, .. } = &self.settings;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let kept: Vec<(OffsetDateTime, String)> =
            names.filter_map(|name| Some((time_of(path, &name)?, name))).collect();
        for name in too_many(kept, object::now(), *backups_max, *age_days_max) {
            if let Err(error) = fs::remove_file(path.with_file_name(&name)) {
                tracing::warn!(%name, %error, "an old audit log was not removed");
            }
        }
    }
}

/// What the file is called that was written until `at`.
fn name_of(path: &Path, at: OffsetDateTime) -> PathBuf {
    let (stem, extension) = parts(path);
    let at = at.format(TIME).expect("every time has these parts");
    path.with_file_name(format!("{stem}-{at}{extension}"))
}

/// Until when a file of this name was written; none when it is not one of ours.
fn time_of(path: &Path, name: &str) -> Option<OffsetDateTime> {
    let (stem, extension) = parts(path);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let at = name.strip_prefix(&*stem)?.strip_prefix('-')?.strip_suffix(&*extension)?;
    Some(PrimitiveDateTime::parse(at, TIME).ok()?.assume_utc())
}

/// `audit` and `.log`.
fn parts(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rfind('.') {
        Some(dot) => (name[..dot].to_owned(), name[dot..].to_owned()),
        None => (name, String::new()),
    }
}

/// Those to be dropped; 0 is no bound.
fn too_many(
    mut kept: Vec<(OffsetDateTime, String)>,
    now: OffsetDateTime,
    backups_max: u32,
    age_days_max: u32,
) -> Vec<String> {
    kept.sort_by(|a, b| b.cmp(a));
    let oldest = now - Duration::days(age_days_max.into());
    let is_old = |at: OffsetDateTime| age_days_max > 0 && at < oldest;
    let dropped = kept.into_iter().enumerate().filter(|(index, (at, _))| {
        backups_max > 0 && *index >= backups_max as usize || is_old(*at)
    });
    dropped.map(|(_, (_, name))| name).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn names_are_lumberjacks_and_are_known_again() {
        let at = datetime!(2026-11-23 08:01:02.345 UTC);
        for (path, name) in [
            ("/logs/audit.log", "/logs/audit-2026-11-23T08-01-02.345.log"),
            ("audit", "audit-2026-11-23T08-01-02.345"),
            ("a.b.json", "a.b-2026-11-23T08-01-02.345.json"),
        ] {
            let path = Path::new(path);
            let kept = name_of(path, at);
            assert_eq!(kept, Path::new(name));
            let name = kept.file_name().expect("a name").to_string_lossy().into_owned();
            assert_eq!(time_of(path, &name), Some(at));
            assert_eq!(time_of(path, &format!("{name}.gz")), Some(at));
        }
        for other in ["audit.log", "audit-x.log", "other-2026-11-23T08-01-02.345.log"] {
            assert_eq!(time_of(Path::new("audit.log"), other), None, "{other}");
        }
    }

    #[test]
    fn what_is_too_old_or_too_many_goes() {
        let now = datetime!(2026-11-23 00:00 UTC);
        let kept = |days: &[i64]| {
            let named = days.iter().map(|days| (now - Duration::days(*days), days.to_string()));
            named.collect::<Vec<_>>()
        };
        let check = |backups, age, expected: &[&str]| {
            assert_eq!(too_many(kept(&[5, 1, 3, 2]), now, backups, age), expected);
        };
        check(0, 0, &[]);
        check(2, 0, &["3", "5"]);
        check(0, 2, &["3", "5"]);
        check(3, 4, &["5"]);
        check(1, 4, &["2", "3", "5"]);
    }
}
