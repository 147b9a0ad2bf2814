//! Admission by webhooks: others are asked before something is written, may
//! change it, and may refuse it (`admission.k8s.io/v1`).
//!
//! Webhooks that change objects are asked one after the other, in the order of
//! their configurations' names, and those that want it a second time when a
//! later one changed what they had seen; webhooks that only judge are asked at
//! the same time. Who does not answer in time counts as its configuration says.

mod form;
mod hook;
mod matching;
mod notes;
mod patchwork;
mod policy;
mod review;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use serde_json::Value;
use tokio::sync::watch;

pub use self::review::{Operation, Part, Question};
use self::{
    form::Form,
    hook::{Hooks, Kind},
    notes::Turn,
    policy::Policies,
    review::Verdict,
};
use crate::{audit, cluster::Cluster, failure::Failure, webhook::Call};

/// Bound on an answer: an object of the largest size, patched in full.
const ANSWER_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The webhooks of one cluster.
#[derive(Default)]
pub struct Admission {
    mutating: Mutex<Known>,
    validating: Mutex<Known>,
    policies: Policies,
}

/// What the configurations said when they were last looked at.
#[derive(Clone, Default)]
struct Known {
    /// Wakes when one changes; none before the first look.
    changes: Option<watch::Receiver<u64>>,
    hooks: Arc<Hooks>,
}

/// A webhook that is to be asked, and what it is shown.
struct Asked<'a> {
    turn: Turn<'a>,
    form: Form,
    object: Option<Cow<'a, Value>>,
    old: Option<Cow<'a, Value>>,
}

// === impl Admission ===

impl Admission {
    /// Whether anybody wants to be asked about anything: most clusters have no
    /// webhook, and then nothing is put together for one.
    pub fn is_idle(&self, cluster: &Cluster) -> bool {
        self.hooks(cluster, Kind::Mutating).is_empty()
            && self.hooks(cluster, Kind::Validating).is_empty()
            && self.policies.is_idle(cluster)
    }

    /// The object as webhooks want it, and what they tell the caller.
    pub async fn mutate(
        &self,
        cluster: &Arc<Cluster>,
        question: &Question<'_>,
        mut object: Value,
        old: Option<&Value>,
    ) -> Result<(Value, Vec<String>), Failure> {
        let hooks = self.hooks(cluster, Kind::Mutating);
        let mut warnings = Vec::new();
        let mut seen: Vec<(Turn<'_>, Value)> = Vec::new();
        for (index, hook) in hooks.iter().enumerate() {
            let turn = Turn { hook, round: 0, index };
            let Some(changed) =
                self.change(cluster, turn, question, &object, old, &mut warnings).await?
            else {
                continue;
            };
            seen.push((Turn { round: 1, ..turn }, changed.clone()));
            object = changed;
        }
        for (turn, seen) in seen {
            if turn.hook.reinvoke
                && seen != object
                && let Some(changed) =
                    self.change(cluster, turn, question, &object, old, &mut warnings).await?
            {
                object = changed;
            }
        }
        Ok((object, warnings))
    }

    /// As one webhook wants it; none when it is not to be asked.
    async fn change(
        &self,
        cluster: &Arc<Cluster>,
        turn: Turn<'_>,
        question: &Question<'_>,
        object: &Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Value>, Failure> {
        let Some(asked) = concerned(cluster, turn, question, Some(object), old).await? else {
            return Ok(None);
        };
        let Some(verdict) = self.ask(cluster, question, &asked).await? else {
            return Ok(Some(object.clone()));
        };
        let patch = verdict.patch.clone();
        warnings.extend(verdict.judge(turn.hook)?);
        let (Some(patch), Some(shown)) = (patch, asked.object) else {
            turn.tell(None, false);
            return Ok(Some(object.clone()));
        };
        let before = audit::is_on().then(|| shown.clone().into_owned());
        let patched = patchwork::apply(turn.hook, shown.into_owned(), &patch)?;
        turn.tell(Some(&patch), before.is_some_and(|before| before != patched));
        asked.form.back(cluster, question, patched).await.map(Some)
    }

    /// What webhooks tell the caller, none having refused.
    pub async fn validate(
        &self,
        cluster: &Arc<Cluster>,
        question: &Question<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Vec<String>, Failure> {
        let mut warnings = self.policies.validate(cluster, question, object, old)?;
        let hooks = self.hooks(cluster, Kind::Validating);
        let mut all = Vec::new();
        for (index, hook) in hooks.iter().enumerate() {
            let turn = Turn { hook, round: 0, index };
            all.extend(concerned(cluster, turn, question, object, old).await?);
        }
        let verdicts = join_all(all.iter().map(|asked| self.ask(cluster, question, asked))).await;
        for (asked, verdict) in all.iter().zip(verdicts) {
            if let Some(verdict) = verdict? {
                warnings.extend(verdict.judge(asked.turn.hook)?);
            }
        }
        Ok(warnings)
    }

    /// None when it did not answer and need not.
    async fn ask(
        &self,
        cluster: &Arc<Cluster>,
        question: &Question<'_>,
        asked: &Asked<'_>,
    ) -> Result<Option<Verdict>, Failure> {
        let hook = asked.turn.hook;
        if question.dry_run && !hook.dry_run {
            return Err(Failure::bad_request(format!(
                "admission webhook {:?} does not support dry run",
                hook.name
            )));
        }
        let (object, old) = (asked.object.as_deref(), asked.old.as_deref());
        let (uid, review) = question.review(&asked.form, object, old);
        let call = Call {
            client: &hook.client,
            timeout: hook.timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = cluster.callers.call(cluster, &call, review.to_string().into()).await;
        let verdict = answer
            .map_err(|why| format!("failed to call webhook: {why}"))
            .and_then(|answer| Verdict::read(hook.kind, &uid, &answer));
        match verdict {
            Ok(verdict) => {
                verdict.annotate(hook);
                Ok(Some(verdict))
            }
            Err(why) if hook.ignore => {
                tracing::warn!(webhook = hook.name, %why, "failed open");
                asked.turn.failed_open();
                Ok(None)
            }
            Err(why) => {
                let message = format!("failed calling webhook {:?}: {why}", hook.name);
                Err(Failure::internal(message))
            }
        }
    }

    fn hooks(&self, cluster: &Cluster, kind: Kind) -> Arc<Hooks> {
        let known = match kind {
            Kind::Mutating => &self.mutating,
            Kind::Validating => &self.validating,
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked with every write: as long as nothing changes, nothing is looked up.
        if known.changes.as_ref().is_some_and(|changes| !changes.has_changed().unwrap_or(true)) {
            return known.hooks.clone();
        }
        let prefix = kind.resource().prefix();
        let (changes, kept) = cluster.mirror().look(&prefix, |collection| {
            let kept = collection.range(prefix.as_bytes()).cloned().collect::<Vec<_>>();
            (collection.changes(), kept)
        });
        *known = Known { changes: Some(changes), hooks: Arc::new(hook::read(kind, &kept)) };
        known.hooks.clone()
    }
}

/// Whether the hook is to be asked, and about what. Fails when its conditions
/// cannot be judged and it must not be passed over.
async fn concerned<'a>(
    cluster: &Arc<Cluster>,
    turn: Turn<'a>,
    question: &Question<'_>,
    object: Option<&'a Value>,
    old: Option<&'a Value>,
) -> Result<Option<Asked<'a>>, Failure> {
    let hook = turn.hook;
    if matching::is_exempt(question) {
        return Ok(None);
    }
    let Some(form) = Form::of(cluster, hook, question) else { return Ok(None) };
    if !matching::selects(cluster, hook, question, object, old) {
        return Ok(None);
    }
    let object = form.show(cluster, question, object).await?;
    let old = form.show(cluster, question, old).await?;
    let held = matching::conditions(hook, question, &form, object.as_deref(), old.as_deref())?;
    Ok(held.then_some(Asked { turn, form, object, old }))
}
