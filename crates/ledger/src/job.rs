//! An operation that somebody waits for, whatever it answers: so that different
//! ones can share a transaction.

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};
use topology::Epoch;

use crate::{
    Error,
    account::Executed,
    database::Row,
    transact::{Decision, Need, Operation},
};

pub type Answer<O> = oneshot::Receiver<Result<<O as Operation>::Answer, Error>>;

pub trait Job: Send {
    fn needs(&self) -> &[Need];
    fn routed(&self) -> Option<Epoch>;
    fn deadline(&self) -> Instant;
    /// Whether somebody still waits.
    fn is_awaited(&self) -> bool;
    /// Decides, instead of whatever was decided before, and returns what is to
    /// be written.
    fn decide(&mut self, rows: &[Row], by: Executed) -> Vec<(usize, Bytes)>;
    /// What was decided last is so.
    fn settle(self: Box<Self>);
    fn fail(self: Box<Self>, error: Error);
}

struct Waiting<O: Operation> {
    operation: O,
    needs: Vec<Need>,
    routed: Option<Epoch>,
    deadline: Instant,
    decided: Option<Result<O::Answer, Error>>,
    answer: oneshot::Sender<Result<O::Answer, Error>>,
}

pub fn job<O: Operation>(
    operation: O,
    routed: Option<Epoch>,
    deadline: Instant,
) -> (Box<dyn Job>, Answer<O>) {
    let (answer, awaited) = oneshot::channel();
    let needs = operation.needs();
    (Box::new(Waiting { operation, needs, routed, deadline, decided: None, answer }), awaited)
}

// === impl Waiting ===

impl<O: Operation> Job for Waiting<O> {
    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn routed(&self) -> Option<Epoch> {
        self.routed
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    fn decide(&mut self, rows: &[Row], by: Executed) -> Vec<(usize, Bytes)> {
        let (puts, decided) = match self.operation.decide(rows, by) {
            Ok(Decision::Write { puts, answer }) => (puts, Ok(answer)),
            Ok(Decision::Answer(answer)) => (Vec::new(), Ok(answer)),
            Err(error) => (Vec::new(), Err(error)),
        };
        self.decided = Some(decided);
        puts
    }

    fn settle(self: Box<Self>) {
        let Waiting { decided, answer, .. } = *self;
        // Nobody may be there any more.
        let _ = answer.send(decided.expect("a job is settled after it decided"));
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.answer.send(Err(error));
    }
}
