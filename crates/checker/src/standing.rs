//! Revisions against real time: whoever asks after an answer sees no less than
//! that answer knew.

use crate::{
    Violation,
    history::{History, Operation, Said},
    timeline::written,
};

/// Reads that may be stale are free to be; all else is not.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut told: Vec<(u64, u64)> = Vec::new();
    for operation in &history.operations {
        told.extend(operation.end.zip(operation.revision()));
    }
    for item in history.watches.iter().flat_map(|watch| &watch.items) {
        told.extend(revision(&item.said).map(|revision| (item.at, revision)));
    }
    told.sort_unstable();
    let mut asked: Vec<&Operation> = history.operations.iter().collect();
    asked.sort_by_key(|operation| operation.call);

    let mut violations = Vec::new();
    let mut told = told.into_iter().peekable();
    let mut floor = 0;
    for operation in asked {
        while let Some((_, revision)) = told.next_if(|(at, _)| *at < operation.call) {
            floor = floor.max(revision);
        }
        let Some(revision) = operation.revision().filter(|_| !operation.is_serializable()) else {
            continue;
        };
        if revision < floor {
            let what = format!("{operation:?} came after revision {floor} was known");
            violations.push(Violation::new("no stale reads", what));
        }
        if revision == floor && written(operation).is_some() {
            let what = format!("revision {floor} was known before {operation:?} was asked for");
            violations.push(Violation::new("real time", what));
        }
    }
    violations
}

fn revision(said: &Said) -> Option<u64> {
    match said {
        Said::Created { revision } | Said::Progress { revision } => Some(*revision),
        Said::Events(events) => events.iter().map(|event| event.revision).max(),
        Said::Ended(_) => None,
    }
}
