//! The agent and its runtimes: codes PLS0600 to PLS0699.

use crate::{Code, Entry};

pub(crate) const TABLE: &[Entry] = &[];
