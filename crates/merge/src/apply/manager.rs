//! Who writes: a name, and how it writes.

use std::fmt;

use super::{Write, quoted};
use crate::go;

/// Kubernetes' bound on a manager's name.
pub const MANAGER_LEN_MAX: usize = 128;

/// In the order in which entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    /// Any other way to write.
    Update,
}

/// What tells one manager from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    /// None for appliers: they are the same whatever version they apply.
    pub api_version: Option<String>,
    pub subresource: String,
}

/// The name of who writes: what it says, or what its program is called.
#[must_use]
pub fn manager_name(field_manager: &str, user_agent: &str) -> String {
    if !field_manager.is_empty() {
        return field_manager.to_owned();
    }
    let prefix = user_agent.split('/').next().unwrap_or_default();
    let mut name = String::new();
    for letter in prefix.chars().filter(|letter| go::is_printable(*letter)) {
        if name.len() + letter.len_utf8() > MANAGER_LEN_MAX {
            break;
        }
        name.push(letter);
    }
    name
}

// === impl Operation ===

impl Operation {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

// === impl Manager ===

impl Manager {
    pub(super) fn of(write: &Write<'_>, operation: Operation) -> Manager {
        let name = match write.manager {
            "" => "unknown",
            name => name,
        };
        Manager::new(name, operation, write.api_version, write.subresource)
    }

    pub(super) fn new(
        name: &str,
        operation: Operation,
        api_version: &str,
        subresource: &str,
    ) -> Manager {
        let api_version = match operation {
            Operation::Apply => None,
            Operation::Update => Some(api_version.to_owned()),
        };
        let (name, subresource) = (name.to_owned(), subresource.to_owned());
        Manager { name, operation, api_version, subresource }
    }
}

/// As conflicts name it: `"kubectl" with subresource "status" using apps/v1`.
impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.name))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", quoted(&self.subresource))?;
        }
        match &self.api_version {
            Some(version) => write!(f, " using {version}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_named_or_called_after_its_program() {
        assert_eq!(manager_name("me", "kubectl/v1.37 (linux)"), "me");
        assert_eq!(manager_name("", "kubectl/v1.37 (linux)"), "kubectl");
        assert_eq!(manager_name("", "a\tb\u{1}c"), "abc");
        assert_eq!(manager_name("", &"é".repeat(100)).len(), MANAGER_LEN_MAX);
        assert_eq!(manager_name("", ""), "");
    }
}
