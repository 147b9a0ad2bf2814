//! The ledger: codes PLS0500 to PLS0599.

use crate::{Code, Entry};

pub(crate) const TABLE: &[Entry] = &[];
