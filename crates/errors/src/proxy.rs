//! The proxy: codes PLS0400 to PLS0499.

use crate::{Code, Entry};

pub(crate) const TABLE: &[Entry] = &[];
