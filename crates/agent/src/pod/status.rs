//! The status of a Pod from what is seen of its containers. Pure.

use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use runtime::{Exit, Finished};

use super::{
    plan::{Place, PodPlan, Refusal},
    view::{State, View},
};

/// The conditions that an agent writes.
const OURS: [&str; 4] = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];

/// The status of a Pod that runs, ran, or is about to. `stopping` keeps it from
/// being called ready while its containers still answer.
pub(crate) fn of_views(
    plan: &PodPlan,
    views: &[View],
    stopping: bool,
    place: &Place,
    last: &PodStatus,
    now: Timestamp,
) -> PodStatus {
    let containers = plan.containers.iter().zip(views);
    let statuses: Vec<_> =
        containers.map(|(plan, view)| container_status(&plan.name, &plan.image, view)).collect();
    let unready: Vec<_> =
        statuses.iter().filter(|status| !status.ready).map(|status| status.name.clone()).collect();
    let phase = phase(views);
    let why_unready = match phase {
        "Succeeded" => Some(("PodCompleted", String::new())),
        "Failed" => Some(("PodFailed", String::new())),
        _ if stopping => Some(("PodStopping", String::new())),
        _ if unready.is_empty() => None,
        _ => Some((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", unready.join(" ")),
        )),
    };
    let conditions = Conditions { last, now };
    let ip = place.address.to_string();
    PodStatus {
        phase: Some(phase.into()),
        conditions: Some(conditions.with([
            ("PodScheduled", None),
            ("Initialized", None),
            ("ContainersReady", why_unready.clone()),
            ("Ready", why_unready),
        ])),
        container_statuses: Some(statuses),
        host_ip: Some(ip.clone()),
        host_ips: Some(vec![HostIP { ip: ip.clone() }]),
        pod_ips: Some(vec![PodIP { ip: ip.clone() }]),
        pod_ip: Some(ip),
        qos_class: Some("BestEffort".into()),
        start_time: last.start_time.clone().or(Some(Time(now))),
        ..PodStatus::default()
    }
}

/// The status of a Pod that will not run here.
pub(crate) fn of_refusal(refusal: &Refusal, last: &PodStatus, now: Timestamp) -> PodStatus {
    let why = Some((refusal.reason, refusal.message.clone()));
    let code = errors::AGENT_POD_REFUSED;
    PodStatus {
        phase: Some("Failed".into()),
        reason: Some(refusal.reason.into()),
        message: Some(format!("{code}: {}. {}", refusal.message, code.remedy())),
        conditions: Some(Conditions { last, now }.with([("PodScheduled", None), ("Ready", why)])),
        start_time: last.start_time.clone().or(Some(Time(now))),
        ..PodStatus::default()
    }
}

/// Takes over the conditions that others have written meanwhile.
pub(crate) fn keep_others(last: &mut PodStatus, newer: PodStatus) {
    let ours = |condition: &PodCondition| OURS.contains(&condition.type_.as_str());
    let conditions = last.conditions.get_or_insert_default();
    conditions.retain(ours);
    conditions.extend(newer.conditions.into_iter().flatten().filter(|other| !ours(other)));
}

fn phase(views: &[View]) -> &'static str {
    let ended: Vec<_> = views
        .iter()
        .filter_map(|view| match &view.state {
            State::Ended(finished) => Some(finished.exit),
            _ => None,
        })
        .collect();
    if ended.len() == views.len() {
        let well = ended.iter().all(|exit| *exit == Exit::Code(0));
        return if well { "Succeeded" } else { "Failed" };
    }
    let has_run = |view: &View| view.last.is_some() || matches!(view.state, State::Running { .. });
    if !ended.is_empty() || views.iter().any(has_run) { "Running" } else { "Pending" }
}

fn container_status(name: &str, image: &str, view: &View) -> ContainerStatus {
    let running = matches!(view.state, State::Running { .. });
    let state = match &view.state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).into()),
                message: Some(message.clone()).filter(|message| !message.is_empty()),
            }),
            ..ContainerState::default()
        },
        State::Running { started_at } => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(*started_at) }),
            ..ContainerState::default()
        },
        State::Ended(finished) => terminated(finished),
    };
    ContainerStatus {
        name: name.into(),
        image: image.into(),
        image_id: String::new(),
        ready: view.ready && running,
        started: Some(running),
        restart_count: i32::try_from(view.restarts).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: view.last.as_ref().map(terminated),
        ..ContainerStatus::default()
    }
}

fn terminated(finished: &Finished) -> ContainerState {
    let (reason, message) = match finished.exit {
        Exit::Code(0) => ("Completed", None),
        Exit::Code(_) | Exit::Signal(_) => ("Error", None),
        Exit::Unknown => (
            "ContainerStatusUnknown",
            Some("it ended while it was no child of the agent: how is not known".to_owned()),
        ),
    };
    let terminated = ContainerStateTerminated {
        exit_code: finished.exit.code(),
        signal: match finished.exit {
            Exit::Signal(signal) => Some(signal),
            _ => None,
        },
        reason: Some(reason.into()),
        message,
        started_at: time(finished.started_at),
        finished_at: time(finished.finished_at),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// Whole seconds, as Kubernetes writes them.
fn time(since_epoch: std::time::Duration) -> Option<Time> {
    let seconds = i64::try_from(since_epoch.as_secs()).ok()?;
    Timestamp::from_second(seconds).ok().map(Time)
}

struct Conditions<'a> {
    last: &'a PodStatus,
    now: Timestamp,
}

type Why = Option<(&'static str, String)>;

// === impl Conditions ===

impl Conditions<'_> {
    /// True where there is no reason against; others' conditions stay.
    fn with<const N: usize>(&self, ours: [(&'static str, Why); N]) -> Vec<PodCondition> {
        let known = self.last.conditions.as_deref().unwrap_or_default();
        let others = known.iter().filter(|known| ours.iter().all(|(ours, _)| known.type_ != *ours));
        let mut conditions: Vec<_> = others.cloned().collect();
        for (type_, why) in ours {
            let status = if why.is_none() { "True" } else { "False" };
            let before = known.iter().find(|known| known.type_ == type_ && known.status == status);
            let since = before.and_then(|before| before.last_transition_time.clone());
            let (reason, message) = why.unzip();
            conditions.push(PodCondition {
                type_: type_.into(),
                status: status.into(),
                last_transition_time: since.or(Some(Time(self.now))),
                reason: reason.map(str::to_owned),
                message: message.filter(|message| !message.is_empty()),
                ..PodCondition::default()
            });
        }
        conditions
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
