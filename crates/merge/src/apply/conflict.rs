//! Fields that others own, and that would get another value.

use std::fmt;

use super::{Deltas, Managed, Manager};
use crate::fields::{Fields, Path};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    pub manager: Manager,
    pub path: Path,
}

/// By manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(Vec<Conflict>);

// === impl Conflicts ===

impl Conflicts {
    pub(super) fn between(managed: &Managed, own: &Manager, deltas: &Deltas) -> Conflicts {
        let mut conflicts = Vec::new();
        for (manager, version, fields) in managed.versioned().filter(|(it, ..)| *it != own) {
            let changed = deltas.seen_in(version).changed();
            fields.intersection(&changed).for_each(&mut |path| {
                conflicts.push(Conflict { manager: manager.clone(), path: path.clone() });
            });
        }
        conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
        Conflicts(conflicts)
    }

    /// Those about other fields than `allowed`.
    pub(super) fn without(self, allowed: &Fields) -> Conflicts {
        Conflicts(self.0.into_iter().filter(|conflict| !allowed.has(&conflict.path)).collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.0.iter()
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0.as_slice() {
            let Conflict { manager, path } = one;
            return write!(f, "Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        for (index, group) in self.0.chunk_by(|a, b| a.manager == b.manager).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}conflicts with {}:", group[0].manager)?;
            group.iter().try_for_each(|conflict| write!(f, "\n- {}", conflict.path))?;
        }
        Ok(())
    }
}
