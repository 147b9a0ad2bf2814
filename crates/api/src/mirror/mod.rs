//! A cluster's objects in memory, kept up to date by one watch of the store:
//! what lists, watches and the server's own rules read from.
//!
//! It holds the bytes of the store as they are (shared with a store in this
//! process), and of each collection the last changes. It may be behind; who
//! needs the newest first asks the store how far it is ([`Mirror::reach`]), and
//! who finds it cold or late reads the store itself.

mod collection;
mod follow;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::Duration,
};

use kv::{KeyValue, Kv};
use tokio::sync::watch;

pub use collection::{Change, Collection, Gone};

/// What every key starts with.
pub const ROOT: &str = "/registry/";

pub struct Mirror {
    shared: Arc<Shared>,
    follower: tokio::task::JoinHandle<()>,
}

struct Shared {
    /// By the prefix of their keys, `/registry/GROUP/PLURAL/`.
    collections: RwLock<HashMap<String, Arc<Mutex<Collection>>>>,
    /// Everything up to this revision is in; 0 while nothing was read.
    reached: watch::Sender<u64>,
}

// === impl Mirror ===

impl Mirror {
    /// Starts to follow `kv`; must be called within a runtime.
    pub fn start(kv: Arc<dyn Kv>) -> Mirror {
        let shared =
            Arc::new(Shared { collections: RwLock::default(), reached: watch::channel(0).0 });
        let follower = tokio::spawn(follow::follow(kv, Arc::downgrade(&shared)));
        Mirror { shared, follower }
    }

    /// How far it is.
    pub fn reached(&self) -> u64 {
        *self.shared.reached.borrow()
    }

    /// Changes with how far it is.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.shared.reached.subscribe()
    }

    /// Of every collection that was ever seen or asked for.
    pub fn prefixes(&self) -> Vec<String> {
        let known = self.shared.collections.read().unwrap_or_else(PoisonError::into_inner);
        known.keys().cloned().collect()
    }

    /// Waits until it holds everything up to `revision`; false when that takes
    /// longer than `patience`.
    pub async fn reach(&self, revision: u64, patience: Duration) -> bool {
        if self.reached() >= revision.max(1) {
            return true;
        }
        let mut reached = self.shared.reached.subscribe();
        let there = reached.wait_for(|reached| *reached >= revision.max(1));
        matches!(tokio::time::timeout(patience, there).await, Ok(Ok(_)))
    }

    /// Runs `look` over the collection under `prefix`, which nobody changes
    /// meanwhile: keep it short.
    pub fn look<T>(&self, prefix: &str, look: impl FnOnce(&Collection) -> T) -> T {
        let collection = self.shared.collection(prefix);
        let collection = collection.lock().unwrap_or_else(PoisonError::into_inner);
        look(&collection)
    }

    /// Wakes with every change of the collection.
    pub fn changes(&self, prefix: &str) -> watch::Receiver<u64> {
        self.look(prefix, Collection::changes)
    }

    /// The objects whose keys start with `start`, in order.
    pub fn list(&self, prefix: &str, start: &str) -> Vec<KeyValue> {
        self.look(prefix, |collection| collection.range(start.as_bytes()).cloned().collect())
    }

    pub fn get(&self, prefix: &str, key: &str) -> Option<KeyValue> {
        self.look(prefix, |collection| collection.get(key.as_bytes()).cloned())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn collection(&self, prefix: &str) -> Arc<Mutex<Collection>> {
        let known = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(collection) = known.get(prefix) {
            return collection.clone();
        }
        drop(known);
        let mut known = self.collections.write().unwrap_or_else(PoisonError::into_inner);
        let reached = *self.reached.borrow();
        known
            .entry(prefix.to_owned())
            .or_insert_with(|| Arc::new(Mutex::new(Collection::new(reached))))
            .clone()
    }

    fn set_reached(&self, revision: u64) {
        self.reached.send_if_modified(|reached| {
            let further = revision > *reached;
            *reached = revision.max(*reached);
            further
        });
    }
}

/// `/registry/GROUP/PLURAL/` of a key; none for keys that are no object's.
fn prefix_of(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(ROOT.as_bytes())?;
    let group = memchr::memchr(b'/', rest)?;
    let plural = memchr::memchr(b'/', &rest[group + 1..])?;
    std::str::from_utf8(&key[..ROOT.len() + group + plural + 2]).ok()
}

type Held = Weak<Shared>;
