//! What the audit log is told of webhooks, in kube-apiserver's words.

use serde_json::{Value, json};

use super::hook::{Hook, Kind};
use crate::audit;

/// A webhook that is asked: how often before, and which of all it is.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    pub hook: &'a Hook,
    pub round: usize,
    pub index: usize,
}

// === impl Turn ===

impl Turn<'_> {
    fn key(self, prefix: &str) -> String {
        format!("{prefix}.webhook.admission.k8s.io/round_{}_index_{}", self.round, self.index)
    }

    /// Whether it changed the object, and how, which shows parts of the object.
    pub fn tell(self, patch: Option<&[u8]>, mutated: bool) {
        if !audit::is_on() {
            return;
        }
        let (configuration, webhook) = (&self.hook.configuration, &self.hook.name);
        let told =
            json!({ "configuration": configuration, "webhook": webhook, "mutated": mutated });
        audit::annotate(&self.key("mutation"), &told.to_string());
        let Some(patch) = patch.filter(|_| mutated && audit::wants_bodies()) else { return };
        let patch = serde_json::from_slice::<Value>(patch).unwrap_or_default();
        let told = json!({
            "configuration": configuration, "webhook": webhook,
            "patch": patch, "patchType": "JSONPatch",
        });
        audit::annotate(&self.key("patch"), &told.to_string());
    }

    /// It did not answer, and need not.
    pub fn failed_open(self) {
        let kind = match self.hook.kind {
            Kind::Mutating => "failed-open.mutation",
            Kind::Validating => "failed-open.validating",
        };
        audit::annotate(&self.key(kind), &self.hook.name);
    }
}
