//! ValidatingAdmissionPolicies: objects are refused by expressions, without
//! anybody being asked.
//!
//! A policy says what must hold, a binding where, with which parameters, and
//! what comes of it when it does not. Both are read from the mirror whenever
//! one of them changed, and compiled then.

mod judge;
mod params;
mod read;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use self::read::Policy;
use super::Question;
use crate::{catalog::Catalog, cluster::Cluster, failure::Failure, resource::Resource};

/// The policies of one cluster.
#[derive(Default)]
pub struct Policies {
    known: Mutex<Known>,
}

/// What they said when they were last looked at.
#[derive(Clone, Default)]
struct Known {
    /// Wake when a policy or a binding changes; none before the first look.
    changes: Option<[watch::Receiver<u64>; 2]>,
    policies: Arc<Vec<Policy>>,
}

// === impl Policies ===

impl Policies {
    /// Whether nothing is judged: a policy without a binding does nothing.
    pub fn is_idle(&self, cluster: &Cluster) -> bool {
        self.policies(cluster).is_empty()
    }

    /// What the caller is to be warned of, nothing being refused.
    pub fn validate(
        &self,
        cluster: &Cluster,
        question: &Question<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Vec<String>, Failure> {
        let policies = self.policies(cluster);
        if policies.is_empty() {
            return Ok(Vec::new());
        }
        judge::Case::new(cluster, question, object, old).judge(&policies)
    }

    fn policies(&self, cluster: &Cluster) -> Arc<Vec<Policy>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked with every write: as long as nothing changes, nothing is looked up.
        let fresh = |changes: &watch::Receiver<u64>| !changes.has_changed().unwrap_or(true);
        if known.changes.as_ref().is_some_and(|changes| changes.iter().all(fresh)) {
            return known.policies.clone();
        }
        let look = |of: &Resource| {
            let prefix = of.prefix();
            cluster.mirror().look(&prefix, |collection| {
                let kept = collection.range(prefix.as_bytes()).cloned().collect::<Vec<_>>();
                (collection.changes(), kept)
            })
        };
        let (policies, bindings) = (look(kind(POLICIES)), look(kind(BINDINGS)));
        let read = Arc::new(read::read(&policies.1, &bindings.1));
        *known = Known { changes: Some([policies.0, bindings.0]), policies: read };
        known.policies.clone()
    }
}

const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";

fn kind(plural: &str) -> &'static Arc<Resource> {
    let found = Catalog::builtin().find("admissionregistration.k8s.io", "v1", plural);
    found.expect("the catalog names it")
}
