//! The store: codes PLS0100 to PLS0199.

use crate::{Code, Entry};

pub(crate) const TABLE: &[Entry] = &[];
