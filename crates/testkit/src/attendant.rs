//! The person who looks after a cluster: one that fell apart serves again.
//!
//! A group whose nodes cannot agree in time who is left (seen once in some fifty
//! losses of two nodes of five, and known: MDEV-38920) goes on as single nodes.
//! They find each other again, but none of them knows whether those that are
//! gone go on elsewhere; only a person does, and says so to one of them.

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::galera::Node;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks in a row that find no primary component: a group that changes has none
/// for a moment.
const PATIENCE: u32 = 10;

pub(crate) struct Attendant {
    /// Dropped to say that it is over.
    over: Option<Sender<()>>,
    looking: Option<JoinHandle<()>>,
}

/// What a node says of its group.
struct Seen {
    primary: bool,
    /// Nodes of its group.
    size: usize,
    /// The last change that it applied.
    last: i64,
}

// === impl Attendant ===

impl Attendant {
    pub fn start(nodes: Arc<[Node]>) -> Attendant {
        let (over, listen) = channel();
        let looking = thread::spawn(move || {
            let mut without = 0;
            while listen.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let fallen = fallen(&nodes);
                without = if fallen.is_some() { without + 1 } else { 0 };
                if let Some(node) = fallen.filter(|_| without > PATIENCE) {
                    println!("galera: no primary component; {} is told to begin one", node.name());
                    // Where it cannot, the next look tells.
                    let _ = node.query("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'");
                    without = 0;
                }
            }
        });
        Attendant { over: Some(over), looking: Some(looking) }
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        drop(self.over.take());
        let looking = self.looking.take().map(JoinHandle::join);
        if looking.is_some_and(|ended| ended.is_err()) && !thread::panicking() {
            panic!("whoever looks after the cluster panicked");
        }
    }
}

/// The node to begin with, if all that live are one group that is not primary:
/// the one that knows most. One that lives and is not heard may be in a primary
/// component with others.
fn fallen(nodes: &[Node]) -> Option<&Node> {
    let living: Vec<_> = nodes.iter().filter(|node| node.lives()).collect();
    let mut most = None;
    for node in &living {
        let seen = seen(node)?;
        if seen.primary || seen.size != living.len() {
            return None;
        }
        if most.is_none_or(|(last, _)| seen.last > last) {
            most = Some((seen.last, *node));
        }
    }
    most.map(|(_, node)| node)
}

fn seen(node: &Node) -> Option<Seen> {
    let rows = node.query("SHOW STATUS LIKE 'wsrep_%'").ok()?;
    let value = |name: &str| rows.iter().find(|row| row[0] == name).map(|row| row[1].as_str());
    Some(Seen {
        primary: value("wsrep_cluster_status")? == "Primary",
        size: value("wsrep_cluster_size")?.parse().ok()?,
        last: value("wsrep_last_committed")?.parse().ok()?,
    })
}
