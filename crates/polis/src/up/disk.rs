//! Disks that are slow and disks that are full.
//!
//! Slow is a limit that the kernel puts on the writes of a group of processes
//! (cgroup v1, `blkio.throttle.write_iops_device`; needs root): what they wait
//! for, they wait for as on a bad disk. Full is a file that takes all room; only
//! where a folder is a file system of its own, so that nobody else is hit.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rustix::{io::Errno, process::Pid};

use crate::data::DataDir;

const BLKIO: &str = "/sys/fs/cgroup/blkio";
const PROCESSES: &str = "cgroup.procs";

/// Takes all the room.
const BALLAST: &str = "drill-ballast";
const BALLAST_STEP: usize = 64 * 1024;
/// No drill writes more than this, to whatever it was pointed at.
const BALLAST_BYTES_MAX: u64 = 8 << 30;

/// The group of processes whose writes are slow.
pub struct SlowDisk {
    group: PathBuf,
}

// === impl SlowDisk ===

impl SlowDisk {
    #[must_use]
    pub fn new(data: &Path) -> SlowDisk {
        // Called after the folder, so that whoever finds it knows whose it is.
        let name = format!("polis{}", data.display().to_string().replace('/', "-"));
        SlowDisk { group: Path::new(BLKIO).join(name) }
    }

    /// From now on these processes write so often a second to the disks that
    /// these folders are on.
    pub fn begin(&self, processes: &[Pid], folders: &[PathBuf], writes: u32) -> anyhow::Result<()> {
        let code = errors::DRILL_DISK;
        let cannot = || format!("{code}: writes cannot be slowed. {}", code.remedy());
        let disks = folders.iter().map(|folder| disk_of(folder)).collect::<Result<Vec<_>, _>>();
        let disks = disks.with_context(cannot)?;
        match fs::create_dir(&self.group) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(cannot);
            }
            _ => {}
        }
        let limit = self.group.join("blkio.throttle.write_iops_device");
        for disk in disks {
            fs::write(&limit, format!("{disk} {writes}")).with_context(cannot)?;
        }
        for process in processes {
            let member = process.as_raw_nonzero().to_string();
            match fs::write(self.group.join(PROCESSES), member) {
                // It has just ended.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {}
                moved => moved.with_context(cannot)?,
            }
        }
        Ok(())
    }

    pub fn end(&self) -> anyhow::Result<()> {
        let members = match fs::read_to_string(self.group.join(PROCESSES)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            members => members.context("read who writes slowly")?,
        };
        for member in members.lines() {
            // One that has ended meanwhile is in no group.
            let _ = fs::write(Path::new(BLKIO).join(PROCESSES), member);
        }
        fs::remove_dir(&self.group).context("end slow writes")
    }
}

/// Undoes what an `up` that was killed left behind.
pub fn clean(data: &DataDir) -> anyhow::Result<()> {
    SlowDisk::new(data.path()).end()?;
    let centers = fs::read_dir(data.path().join("centers")).into_iter().flatten().flatten();
    let folders = centers.map(|entry| entry.path()).chain([data.store()]);
    folders.into_iter().try_for_each(|folder| empty(&folder))
}

/// Leaves no room in the file system of `folder`.
pub fn fill(folder: &Path) -> anyhow::Result<()> {
    let (code, shown) = (errors::DRILL_DISK, folder.display());
    let here = fs::metadata(folder).with_context(|| format!("look at {shown}"))?;
    let above = folder.parent().context("a data folder is in a folder")?;
    let above = fs::metadata(above).with_context(|| format!("look above {shown}"))?;
    if here.dev() == above.dev() {
        bail!("{code}: {shown} is no file system of its own. {}", code.remedy());
    }
    let mut file = File::create(folder.join(BALLAST)).context("create the ballast")?;
    let block = vec![0; BALLAST_STEP];
    let mut written = 0;
    while written < BALLAST_BYTES_MAX {
        match file.write(&block) {
            Ok(bytes) => written += bytes as u64,
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error).context("write the ballast"),
        }
    }
    empty(folder)?;
    bail!("{code}: {shown} has more room than a drill may take. {}", code.remedy())
}

/// Gives the room back.
pub fn empty(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_file(folder.join(BALLAST)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove the ballast from {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The number of the whole disk that a folder is on, `MAJOR:MINOR`: limits are
/// of disks, not of their partitions.
fn disk_of(folder: &Path) -> anyhow::Result<String> {
    let shown = folder.display();
    let device = fs::metadata(folder).with_context(|| format!("look at {shown}"))?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let block = fs::canonicalize(block).with_context(|| format!("{shown} is on no disk"))?;
    let whole = if block.join("partition").exists() { block.join("..") } else { block };
    let number = fs::read_to_string(whole.join("dev")).context("read the disk's number")?;
    Ok(number.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_others_use_too_is_not_filled() {
        let folder = std::env::temp_dir().join(format!("polis-full-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("create a folder");
        let refused = fill(&folder).expect_err("it is part of a larger one").to_string();
        assert!(refused.contains("PLS0710"), "{refused}");
        assert!(!folder.join(BALLAST).exists());
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
