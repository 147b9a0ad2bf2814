//! Tokens that were found good, for a short while.
//!
//! A signature costs more than the rest of a small request. Refusals are not
//! kept: whoever guesses pays for each guess.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::Instant;

use crate::caller::Caller;

/// As long as kube-apiserver believes one; so much longer a token may outlive
/// the pod it is bound to.
const BELIEVED: Duration = Duration::from_secs(10);

/// Callers that ask within that time; each is well below a KiB.
const VERDICTS_MAX: usize = 4096;

/// By digest, so that no token is kept.
#[derive(Default)]
pub struct Verdicts(Mutex<HashMap<[u8; 32], (Caller, Instant)>>);

// === impl Verdicts ===

impl Verdicts {
    /// `scope` keeps apart what a token is good for: it is not the same caller
    /// in another cluster.
    pub fn find(&self, scope: &str, token: &str, now: Instant) -> Option<Caller> {
        let verdicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, until) = verdicts.get(&key(scope, token))?;
        (*until > now).then(|| caller.clone())
    }

    pub fn keep(&self, scope: &str, token: &str, caller: &Caller, now: Instant) {
        let mut verdicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= VERDICTS_MAX {
            verdicts.retain(|_, (_, until)| *until > now);
        }
        if verdicts.len() < VERDICTS_MAX {
            verdicts.insert(key(scope, token), (caller.clone(), now + BELIEVED));
        }
    }
}

fn key(scope: &str, token: &str) -> [u8; 32] {
    let digest = digest(&SHA256, [scope.as_bytes(), b"\0", token.as_bytes()].concat().as_slice());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_short_lived_and_of_one_cluster() {
        let verdicts = Verdicts::default();
        let now = Instant::now();
        let ann = Caller::user("ann", []);
        verdicts.keep("a", "token", &ann, now);
        assert_eq!(verdicts.find("a", "token", now), Some(ann.clone()));
        assert_eq!(verdicts.find("b", "token", now), None);
        assert_eq!(verdicts.find("a", "token2", now), None);
        assert_eq!(verdicts.find("a", "token", now + BELIEVED), None);
        for n in 0..2 * VERDICTS_MAX {
            verdicts.keep("a", &n.to_string(), &ann, now);
        }
        assert_eq!(verdicts.0.lock().expect("whole").len(), VERDICTS_MAX);
        verdicts.keep("a", "later", &ann, now + BELIEVED);
        assert_eq!(verdicts.0.lock().expect("whole").len(), 1, "room is made by time");
    }
}
