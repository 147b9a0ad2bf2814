//! What a Pod's status says for what is seen.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::pod::seen::{PodRef, SeenPod};

fn place() -> Place {
    Place { node: "east-1".into(), address: [127, 0, 0, 1].into() }
}

fn plan() -> PodPlan {
    let spec = json!({"containers": [
        {"name": "a", "command": ["x"]}, {"name": "b", "command": ["x"]},
    ]});
    let pod = SeenPod { spec, ..SeenPod::default() };
    let id = PodRef { namespace: "n".into(), name: "p".into(), uid: "u".into() };
    PodPlan::of(&pod, &id, &place()).expect("a plan")
}

fn ended(exit: Exit) -> Finished {
    let (started_at, finished_at) = (Duration::from_secs(10), Duration::from_secs(20));
    Finished { exit, started_at, finished_at }
}

fn running(ready: bool) -> View {
    let state = State::Running { started_at: Duration::from_secs(10) };
    View { state, ready, ..View::creating() }
}

fn over(exit: Exit) -> View {
    View { state: State::Ended(ended(exit)), ..View::creating() }
}

fn status(views: &[View], stopping: bool) -> PodStatus {
    let now = Timestamp::from_second(100).expect("a time");
    of_views(&plan(), views, stopping, &place(), &PodStatus::default(), now)
}

fn condition<'a>(status: &'a PodStatus, wanted: &str) -> &'a PodCondition {
    let conditions = status.conditions.as_deref().expect("conditions");
    conditions.iter().find(|condition| condition.type_ == wanted).expect("the condition")
}

#[test]
fn the_phase_follows_the_containers() {
    let check = |views: [View; 2], expected: &str| {
        assert_eq!(status(&views, false).phase.as_deref(), Some(expected), "{views:?}");
    };
    check([View::creating(), View::creating()], "Pending");
    check([running(false), View::creating()], "Running");
    check(
        [View { last: Some(ended(Exit::Code(1))), ..View::creating() }, View::creating()],
        "Running",
    );
    check([over(Exit::Code(0)), running(true)], "Running");
    check([over(Exit::Code(0)), over(Exit::Code(0))], "Succeeded");
    check([over(Exit::Code(0)), over(Exit::Signal(9))], "Failed");
}

#[test]
fn a_pod_is_ready_when_all_are_and_it_is_not_stopping() {
    let ready = |status: &PodStatus| condition(status, "Ready").status.clone();
    assert_eq!(ready(&status(&[running(true), running(true)], false)), "True");
    assert_eq!(ready(&status(&[running(true), running(true)], true)), "False");
    let half = status(&[running(true), running(false)], false);
    assert_eq!(ready(&half), "False");
    let message = condition(&half, "ContainersReady").message.clone();
    assert_eq!(message.as_deref(), Some("containers with unready status: [b]"));
}

#[test]
fn a_transition_keeps_its_time_until_the_next_and_other_writers_keep_theirs() {
    let first = status(&[running(true), running(true)], false);
    let mut last = first.clone();
    last.conditions.get_or_insert_default().push(PodCondition {
        type_: "polis.dev/Drained".into(),
        status: "True".into(),
        ..PodCondition::default()
    });
    let later = Timestamp::from_second(200).expect("a time");
    let again =
        |ready| of_views(&plan(), &[running(true), running(ready)], false, &place(), &last, later);
    let at = |status: &PodStatus| condition(status, "Ready").last_transition_time.clone();
    assert_eq!(at(&again(true)), at(&first));
    assert_eq!(at(&again(false)), Some(Time(later)));
    assert_eq!(condition(&again(true), "polis.dev/Drained").status, "True");
}

#[test]
fn a_refusal_says_why_and_what_to_do() {
    let refusal = Refusal { reason: "Unsupported", message: "volumes are not served".into() };
    let now = Timestamp::from_second(100).expect("a time");
    let status = of_refusal(&refusal, &PodStatus::default(), now);
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let message = status.message.expect("a message");
    assert!(message.contains("PLS0603") && message.contains("volumes are not served"));
}

#[test]
fn an_end_that_nobody_saw_is_called_unknown() {
    let status = status(&[over(Exit::Unknown), running(true)], false);
    let state = status.container_statuses.expect("statuses").remove(0).state.expect("a state");
    let terminated = state.terminated.expect("it has ended");
    assert_eq!(terminated.reason.as_deref(), Some("ContainerStatusUnknown"));
    assert_eq!(terminated.exit_code, 137);
}
