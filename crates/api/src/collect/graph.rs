//! Who belongs to whom: the part of an object that the collector looks at, and
//! an index from owners to what belongs to them.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

/// What deletes dependents first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// What lets dependents go on alone.
pub const ORPHAN: &str = "orphan";

/// The key of an object in the store.
pub type Key = String;

/// What of an object matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub uid: String,
    pub owners: Vec<Owner>,
    pub finalizers: Vec<String>,
    pub deleting: bool,
}

/// An `ownerReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub block_owner_deletion: Option<bool>,
}

#[derive(Default)]
pub struct Graph {
    owners: HashMap<Key, Vec<Owner>>,
    dependents: HashMap<String, BTreeSet<Key>>,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: Option<String>,
    owner_references: Option<Vec<Owner>>,
    finalizers: Option<Vec<String>>,
    deletion_timestamp: Option<serde::de::IgnoredAny>,
}

// === impl Head ===

impl Head {
    /// Of stored bytes; what cannot be read owns nothing and belongs to nobody.
    pub fn read(value: &[u8]) -> Head {
        let Ok(Stored { metadata }) = serde_json::from_slice(value) else { return Head::default() };
        Head {
            uid: metadata.uid.unwrap_or_default(),
            owners: metadata.owner_references.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    /// Goes only once what belongs to it has gone, or was let go.
    pub fn waits(&self) -> bool {
        self.deleting && (self.has_finalizer(FOREGROUND) || self.has_finalizer(ORPHAN))
    }
}

// === impl Graph ===

impl Graph {
    pub fn set(&mut self, key: &str, owners: Vec<Owner>) {
        self.remove(key);
        if owners.is_empty() {
            return;
        }
        for owner in &owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(key.to_owned());
        }
        self.owners.insert(key.to_owned(), owners);
    }

    /// Whose it was.
    pub fn remove(&mut self, key: &str) -> Vec<Owner> {
        let owners = self.owners.remove(key).unwrap_or_default();
        for owner in &owners {
            if let Some(keys) = self.dependents.get_mut(&owner.uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        owners
    }

    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// What belongs to `uid` and must go before it.
    pub fn blocking(&self, uid: &str) -> Vec<Key> {
        let blocks = |key: &Key| {
            let owners = self.owners.get(key).into_iter().flatten();
            owners.into_iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true))
        };
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    pub fn has_dependents(&self, uid: &str) -> bool {
        self.dependents.contains_key(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str, block: bool) -> Owner {
        Owner { uid: uid.into(), block_owner_deletion: Some(block), ..Owner::default() }
    }

    #[test]
    fn dependents_are_found_by_their_owners_for_as_long_as_they_say_so() {
        let mut graph = Graph::default();
        graph.set("a", vec![owner("1", true), owner("2", false)]);
        graph.set("b", vec![owner("1", false)]);
        assert_eq!(graph.dependents("1"), ["a", "b"]);
        assert_eq!(graph.blocking("1"), ["a"]);
        graph.set("a", vec![owner("2", false)]);
        assert_eq!(graph.dependents("1"), ["b"]);
        assert_eq!(graph.remove("b").len(), 1);
        assert!(!graph.has_dependents("1") && graph.has_dependents("2"));
    }

    #[test]
    fn of_an_object_only_its_metadata_is_read_and_nonsense_belongs_to_nobody() {
        let head = Head::read(
            br#"{"metadata":{"uid":"u","deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["orphan"],
                "ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"o"}]},"spec":[]}"#,
        );
        assert!(head.waits() && head.owners[0].uid == "o");
        assert_eq!(Head::read(b"[1"), Head::default());
    }
}
