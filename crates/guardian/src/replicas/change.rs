//! The steps by which a server becomes leader or follower. A guardian may be cut
//! off after each, and the next one must be able to begin again: a member that
//! has acknowledged must not stop to vouch before there is another mandate. So
//! it is detached in one packet, when it has applied all that it had received,
//! and is attached to another in one packet.

use std::time::Duration;

use rt::random::Random;

use super::{Replicas, Replication};
use crate::{
    Error, History, Mandate, Member, Name,
    node::{Node, SHORT},
};

/// A fetching thread may have to give up a connection attempt first.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// What a replica has received it applies within this, or is no choice.
const APPLY_SECONDS: u32 = 8;
const APPLY_LIMIT: Duration = Duration::from_secs(10);

/// The first commit of a leader: its members connect to it first.
const FIRST_COMMIT_LIMIT: Duration = Duration::from_secs(10);

/// No limit: a commit waits, and is never answered unacknowledged.
const NO_LIMIT_MS: u64 = u64::MAX;

/// Takes a member away from its leader, and waits until it has applied what it
/// has. From here on it acknowledges nothing. The applying thread is not
/// stopped: that would throw away what it has not applied yet.
pub async fn turn_away(node: &mut Node) -> Result<(), Error> {
    // It would tell a leader that it leaves, and wait for one that is gone.
    node.run("SET GLOBAL rpl_semi_sync_slave_kill_conn_timeout = 1", SHORT).await?;
    node.run("STOP SLAVE IO_THREAD", STOP_LIMIT).await?;
    let received = super::Stand::read(node).await?.received;
    applied(node, &received, APPLY_SECONDS).await?.then_some(()).ok_or_else(|| {
        node.fails(format!("it has not applied {received} within {APPLY_SECONDS} s"))
    })
}

/// Whether it applies all up to a position in time.
pub async fn applied(node: &mut Node, position: &str, seconds: u32) -> Result<bool, Error> {
    let position: String =
        position.chars().filter(|c| c.is_ascii_digit() || "-,".contains(*c)).collect();
    if position.is_empty() {
        return Ok(true);
    }
    let wait = format!("MASTER_GTID_WAIT('{position}', {seconds})");
    let waited: Option<i64> = node.value(&wait, APPLY_LIMIT).await?;
    Ok(waited == Some(0))
}

pub async fn position(node: &mut Node) -> Result<String, Error> {
    node.value("@@global.gtid_binlog_pos", SHORT).await
}

/// No more commits begin; those under way have ended, acknowledged.
pub async fn fence(node: &mut Node, limit: Duration) -> Result<(), Error> {
    // It waits for commits that wait themselves, and must not hold them for
    // longer than we are here.
    let seconds = limit.as_secs().max(1);
    node.run(&format!("SET SESSION lock_wait_timeout = {seconds}"), SHORT).await?;
    node.run("SET GLOBAL read_only = ON", limit + SHORT).await
}

/// Makes a leader of it that does not take writes yet.
pub async fn crown(node: &mut Node) -> Result<(), Error> {
    detach(node).await?;
    require_acknowledgements(node).await
}

async fn detach(node: &mut Node) -> Result<(), Error> {
    node.run("STOP SLAVE; RESET SLAVE ALL", STOP_LIMIT).await
}

pub async fn require_acknowledgements(node: &mut Node) -> Result<(), Error> {
    let no_limit = format!("SET GLOBAL rpl_semi_sync_master_timeout = {NO_LIMIT_MS}");
    node.run_all(&[
        &no_limit,
        "SET GLOBAL rpl_semi_sync_master_wait_no_slave = ON",
        "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
        "SET GLOBAL rpl_semi_sync_master_enabled = ON",
    ])
    .await
}

/// The first commit of an epoch, or a change of who acknowledges in it. That it
/// is answered shows that commits are acknowledged.
pub async fn write_mandate(node: &mut Node, mandate: &Mandate, of: u64) -> Result<(), Error> {
    let ackers: Vec<&str> = mandate.ackers.iter().map(Name::as_str).collect();
    let statement = format!(
        "UPDATE polis_group.mandate SET epoch = {}, leader = '{}', ackers = '{}' WHERE one = 1 AND \
         epoch = {of}",
        mandate.epoch,
        mandate.leader,
        ackers.join(",")
    );
    node.run(&statement, FIRST_COMMIT_LIMIT).await?;
    match node.changed() {
        1 => Ok(()),
        changed => Err(node.fails(format!("its mandate changed meanwhile ({changed} rows)"))),
    }
}

pub async fn open(node: &mut Node) -> Result<(), Error> {
    node.run_all(&["SET GLOBAL rpl_semi_sync_slave_enabled = OFF", "SET GLOBAL read_only = OFF"])
        .await
}

impl Replicas {
    /// Has a server that takes no writes fetch from `leader`, which has `all`.
    pub(super) async fn follow(
        &self,
        node: &mut Node,
        leader: &Member,
        all: &History,
        acknowledges: bool,
    ) -> Result<(), Error> {
        detach(node).await?;
        renumber(node, all).await?;
        let acknowledges = if acknowledges { "ON" } else { "OFF" };
        let acknowledges = format!("SET GLOBAL rpl_semi_sync_slave_enabled = {acknowledges}");
        let Replication { user, password, secure } = &self.replication;
        let change = format!(
            "CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = '{}', \
             MASTER_PASSWORD = '{}', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
             MASTER_HEARTBEAT_PERIOD = 1, MASTER_SSL = {}; START SLAVE",
            leader.endpoint.host,
            leader.endpoint.port,
            quoted(user),
            quoted(password),
            u8::from(*secure),
        );
        node.run_all(&[
            // No commit waits any more, since none began after it was fenced.
            "SET GLOBAL rpl_semi_sync_master_enabled = OFF",
            &acknowledges,
            // What it wrote itself as a leader counts as received.
            "SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos",
            &change,
        ])
        .await
    }
}

/// A leader that crashed drops its last commits even if others have them, and
/// must fetch them. But a server passes over what carries its own number, and
/// goes on as if it had it: so it gets another one, until it is started again.
async fn renumber(node: &mut Node, all: &History) -> Result<(), Error> {
    let number: u32 = node.value("@@global.server_id", SHORT).await?;
    if !super::Stand::read(node).await?.history.lacks_of(number, all) {
        return Ok(());
    }
    // Far from what people choose, and from each other.
    let fresh = 1 << 30 | u32::try_from(Random::from_entropy().below(1 << 30)).unwrap_or(1);
    tracing::info!(member = %node.name, number, fresh, "it fetches what it wrote and lost");
    node.run(&format!("SET GLOBAL server_id = {fresh}"), SHORT).await
}

/// Lets a member acknowledge that has caught up.
pub async fn acknowledge(node: &mut Node) -> Result<(), Error> {
    node.run("STOP SLAVE IO_THREAD", STOP_LIMIT).await?;
    node.run_all(&["SET GLOBAL rpl_semi_sync_slave_enabled = ON", "START SLAVE IO_THREAD"]).await
}

/// Within a literal: these statements take no parameters.
pub fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "''")
}
