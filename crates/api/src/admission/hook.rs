//! One webhook, as its configuration says.

use std::{sync::Arc, time::Duration};

use kv::KeyValue;
use serde::Deserialize;

use crate::{
    catalog::Catalog, resource::Resource, selector::LabelSelector, selector::of_label_selector,
    webhook::Client,
};

/// What a webhook may take unless it says otherwise, and at most.
const TIMEOUT_S: u64 = 10;
const TIMEOUT_MAX_S: u64 = 30;

pub type Hooks = Vec<Hook>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mutating,
    Validating,
}

pub struct Hook {
    pub kind: Kind,
    /// `MutatingWebhookConfiguration`'s and its own name, to be told apart.
    pub configuration: String,
    pub name: String,
    pub client: Client,
    pub rules: Vec<Rule>,
    pub namespaces: LabelSelector,
    pub objects: LabelSelector,
    /// All must hold for it to be asked.
    pub conditions: Vec<(String, Result<cel::Program, String>)>,
    pub timeout: Duration,
    /// It counts as content when it does not answer.
    pub ignore: bool,
    /// It may be asked about what will not be written.
    pub dry_run: bool,
    /// It is asked about other versions of what its rules name, too.
    pub equivalent: bool,
    /// It is asked again when others changed the object after it.
    pub reinvoke: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    pub operations: Vec<String>,
    pub api_groups: Vec<String>,
    pub api_versions: Vec<String>,
    pub resources: Vec<String>,
    /// Of policies only; none means any.
    pub resource_names: Vec<String>,
    pub scope: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    pub name: String,
    pub expression: String,
}

#[derive(Deserialize)]
struct Configuration {
    metadata: Named,
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Webhook {
    name: String,
    client_config: Client,
    rules: Vec<Rule>,
    failure_policy: Option<String>,
    namespace_selector: serde_json::Value,
    object_selector: serde_json::Value,
    side_effects: Option<String>,
    timeout_seconds: Option<u64>,
    reinvocation_policy: Option<String>,
    match_policy: Option<String>,
    match_conditions: Vec<Condition>,
}

/// All of them, in the order of their configurations' names.
pub fn read(kind: Kind, kept: &[KeyValue]) -> Hooks {
    let mut hooks = Vec::new();
    for kv in kept {
        let configuration: Configuration = match serde_json::from_slice(&kv.value) {
            Ok(configuration) => configuration,
            Err(error) => {
                let key = String::from_utf8_lossy(&kv.key);
                tracing::error!(%key, %error, "a webhook configuration cannot be read");
                continue;
            }
        };
        let name = configuration.metadata.name;
        hooks.extend(configuration.webhooks.into_iter().map(|webhook| webhook.hook(kind, &name)));
    }
    hooks
}

// === impl Kind ===

impl Kind {
    pub fn resource(self) -> &'static Arc<Resource> {
        let plural = match self {
            Kind::Mutating => "mutatingwebhookconfigurations",
            Kind::Validating => "validatingwebhookconfigurations",
        };
        let found = Catalog::builtin().find("admissionregistration.k8s.io", "v1", plural);
        found.expect("the catalog names it")
    }
}

// === impl Condition ===

impl Condition {
    fn compile(&self) -> (String, Result<cel::Program, String>) {
        let mut env = cel::Env::new();
        for variable in ["object", "oldObject", "request"] {
            env = env.with(variable, cel::Decl::dynamic());
        }
        let program = env.compile_to(&self.expression, &cel::Type::Bool);
        (self.name.clone(), program.map_err(|error| error.to_string()))
    }
}

// === impl Webhook ===

impl Webhook {
    fn hook(self, kind: Kind, configuration: &str) -> Hook {
        let timeout_s = self.timeout_seconds.unwrap_or(TIMEOUT_S).clamp(1, TIMEOUT_MAX_S);
        Hook {
            kind,
            configuration: configuration.to_owned(),
            name: self.name,
            client: self.client_config,
            rules: self.rules,
            namespaces: of_label_selector(&self.namespace_selector),
            objects: of_label_selector(&self.object_selector),
            conditions: self.match_conditions.iter().map(Condition::compile).collect(),
            timeout: Duration::from_secs(timeout_s),
            ignore: self.failure_policy.as_deref() == Some("Ignore"),
            dry_run: matches!(self.side_effects.as_deref(), Some("None" | "NoneOnDryRun")),
            equivalent: self.match_policy.as_deref() != Some("Exact"),
            reinvoke: self.reinvocation_policy.as_deref() == Some("IfNeeded"),
        }
    }
}
