//! The API server: codes PLS0200 to PLS0299.

use crate::{Code, Entry};

pub(crate) const TABLE: &[Entry] = &[];
