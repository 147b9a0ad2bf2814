//! OceanBase as a group: its replicas elect a leader themselves and fence the
//! old one by their log, so here a guardian only looks and asks.
//!
//! The group's epoch is the proposal number of the tenant's own log stream: it
//! rises with every election. A leader is moved by asking its log streams to;
//! where everybody that could be asked is gone, the election is awaited.
//!
//! seekdb is one server: it has neither the views nor the commands. There it
//! leads alone, and a failover is refused in its own words. On a cluster of
//! OceanBase none of this was run.

use std::time::Duration;

use async_trait::async_trait;
use engine::sql::SqlConfig;
use futures::future::join_all;

use crate::{
    DatabaseGroup, Epoch, Error, Leader, Member, Name, Outcome, Survey, Tended,
    node::{Node, SHORT, column},
};

/// A switch is done in milliseconds and is refused rather than late; the
/// server's own limit, 10 s for everything, is for other work.
const SWITCH_LIMIT_US: u64 = 3_000_000;
const SWITCH_LIMIT: Duration = Duration::from_secs(4);

/// Lease and election after a server is lost: its documentation says 8 s.
const ELECTION_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Of all servers, as each of them knows it.
const LOGS: &str = "SELECT LS_ID, SVR_IP, SVR_PORT, ROLE, PROPOSAL_ID FROM \
                    oceanbase.GV$OB_LOG_STAT ORDER BY LS_ID";

/// Whose address, as others of the cluster know it, a session is with.
const SELF: &str = "SELECT HOST_IP() AS ip, RPC_PORT() AS port";

pub struct OceanBase {
    members: Vec<Member>,
    login: SqlConfig,
    /// Whose log streams are moved.
    tenant: Name,
}

/// A replica of a log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    stream: u64,
    server: String,
    leads: bool,
    proposal: u64,
}

/// A member that answers, and where its cluster knows it.
struct Known {
    node: Node,
    server: String,
}

// === impl OceanBase ===

impl OceanBase {
    pub fn new(members: Vec<Member>, login: SqlConfig, tenant: Name) -> OceanBase {
        OceanBase { members, login, tenant }
    }

    async fn connect(&self) -> (Vec<Known>, Vec<(Name, String)>) {
        let all = self.members.iter().map(async |member| {
            let mut node = Node::connect(&self.login, member).await?;
            let rows = node.rows(SELF, SHORT).await?;
            let row = rows.first().ok_or_else(|| node.fails("it does not know itself"))?;
            let server = format!("{}:{}", column(row, "ip"), number(row, "port"));
            Ok::<Known, Error>(Known { node, server })
        });
        let (mut known, mut silent) = (Vec::new(), Vec::new());
        for (member, found) in self.members.iter().zip(join_all(all).await) {
            match found {
                Ok(found) => known.push(found),
                Err(error) => silent.push((member.name.clone(), error.to_string())),
            }
        }
        (known, silent)
    }

    /// Of those that answer, whoever's news are the newest.
    async fn leader(&self, known: &mut [Known]) -> (Option<Leader>, Vec<Log>) {
        let mut newest: Vec<Log> = Vec::new();
        for at in known.iter_mut() {
            let logs = logs(at).await.unwrap_or_default();
            if proposal(&logs) > proposal(&newest) {
                newest = logs;
            }
        }
        let leads = newest.iter().find(|log| log.leads);
        let leader = leads.and_then(|log| {
            let at = known.iter().find(|at| at.server == log.server)?;
            Some(Leader { name: at.node.name.clone(), epoch: Epoch(log.proposal) })
        });
        (leader, newest)
    }

    async fn elected(&self, seen: Epoch) -> Result<Outcome, Error> {
        let within = tokio::time::timeout(ELECTION_LIMIT, async {
            loop {
                if let Some(leader) = self.survey().await.leader
                    && leader.epoch > seen
                {
                    return Outcome { leader };
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        within.await.map_err(|_| Error::Missing {
            members: self.members.iter().map(|member| member.name.clone()).collect(),
        })
    }
}

#[async_trait]
impl DatabaseGroup for OceanBase {
    async fn survey(&self) -> Survey {
        let (mut known, silent) = self.connect().await;
        let (leader, logs) = self.leader(&mut known).await;
        let epoch = (!logs.is_empty()).then(|| Epoch(proposal(&logs)));
        Survey { leader, epoch, silent }
    }

    async fn fail_over(&self, seen: Epoch, preferred: Option<&Name>) -> Result<Outcome, Error> {
        let (mut known, _) = self.connect().await;
        let (leader, logs) = self.leader(&mut known).await;
        let now = match leader {
            // Its own replicas see to that.
            None => return self.elected(seen).await,
            Some(leader) if leader.epoch != seen => {
                return Err(Error::Moved { epoch: leader.epoch, leader: leader.name });
            }
            Some(leader) => leader,
        };
        let city = |name: &Name| self.members.iter().find(|m| m.name == *name).map(|m| &m.city);
        let mut others: Vec<&Known> = known.iter().filter(|at| at.node.name != now.name).collect();
        others.sort_by_key(|at| (city(&at.node.name) != preferred, at.node.name.clone()));
        // Where there is nobody else, the server says what it thinks of that.
        let to = others.first().copied().or(known.first());
        let to = to.ok_or_else(|| Error::Alone { leader: now.name.clone() })?.server.clone();
        let at = known.iter_mut().find(|at| at.node.name == now.name);
        let node = &mut at.ok_or_else(|| Error::Alone { leader: now.name.clone() })?.node;
        let limit = format!("SET SESSION ob_query_timeout = {SWITCH_LIMIT_US}");
        node.run(&limit, SHORT).await?;
        for stream in streams(&logs) {
            let switch = switch(stream, &to, &self.tenant);
            node.run(&switch, SWITCH_LIMIT).await?;
        }
        self.elected(seen).await
    }

    /// Its servers follow by themselves.
    async fn tend(&self, _: &Leader) -> Result<Vec<Tended>, Error> {
        Ok(Vec::new())
    }
}

fn switch(stream: u64, server: &str, tenant: &Name) -> String {
    format!(
        "ALTER SYSTEM SWITCH REPLICA LEADER LS = {stream} SERVER = '{server}' TENANT = '{tenant}'"
    )
}

async fn logs(at: &mut Known) -> Result<Vec<Log>, Error> {
    let rows = at.node.rows_if_any(LOGS).await?;
    let log = |row: &mysql_async::Row| Log {
        stream: number(row, "LS_ID"),
        server: format!("{}:{}", column(row, "SVR_IP"), number(row, "SVR_PORT")),
        leads: column(row, "ROLE").eq_ignore_ascii_case("LEADER"),
        proposal: number(row, "PROPOSAL_ID"),
    };
    if !rows.is_empty() {
        return Ok(rows.iter().map(log).collect());
    }
    let version: String = at.node.value("VERSION()", SHORT).await?;
    match version.contains("seekdb") {
        true => Ok(vec![Log { stream: 1, server: at.server.clone(), leads: true, proposal: 1 }]),
        false => Err(at.node.fails("it shows no log streams")),
    }
}

fn number(row: &mysql_async::Row, name: &str) -> u64 {
    row.get_opt::<u64, _>(name).and_then(Result::ok).unwrap_or(0)
}

/// The tenant's own log stream is its first.
fn proposal(logs: &[Log]) -> u64 {
    let first = logs.iter().map(|log| log.stream).min();
    let of_first = logs.iter().filter(|log| Some(log.stream) == first);
    of_first.map(|log| log.proposal).max().unwrap_or(0)
}

fn streams(logs: &[Log]) -> Vec<u64> {
    let mut streams: Vec<u64> = logs.iter().map(|log| log.stream).collect();
    streams.dedup();
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_is_moved_once_and_the_first_one_counts_the_epochs() {
        let log = |stream, proposal| Log {
            stream,
            server: "10.0.0.1:2882".to_owned(),
            leads: true,
            proposal,
        };
        let logs = [log(1, 7), log(1, 9), log(1001, 44)];
        assert_eq!((proposal(&logs), streams(&logs)), (9, vec![1, 1001]));
        let tenant = "polis".parse().expect("a name");
        assert_eq!(
            switch(1001, "10.0.0.2:2882", &tenant),
            "ALTER SYSTEM SWITCH REPLICA LEADER LS = 1001 SERVER = '10.0.0.2:2882' TENANT = 'polis'"
        );
    }
}
