//! Load and drills: codes PLS0700 to PLS0799.

use crate::{Code, Entry};

pub(crate) const TABLE: &[Entry] = &[];
