//! Controllers: codes PLS0300 to PLS0399.

use crate::{Code, Entry};

pub(crate) const TABLE: &[Entry] = &[];
