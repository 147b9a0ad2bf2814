//! The command line, configuration and `polis up`: codes PLS0001 to PLS0099.

use crate::{Code, Entry};

pub const DATA_IN_USE: Code = Code(1);

pub(crate) const TABLE: &[Entry] = &[Entry {
    code: DATA_IN_USE,
    title: "the data folder is in use by another process",
    cause: "Two processes on one data folder would corrupt it, so the first one holds a lock.",
    remedy: "Stop the other process, or give this one its own folder with --data.",
}];
