//! A group's first leader: made once, by a person's word.

use std::time::Duration;

use super::{Replicas, change, epoch_of, stand::Stand, stands};
use crate::{Epoch, Error, Leader, Mandate, Member, Name, node::Node};

/// Followers take over all that the first leader has written so far.
const CATCH_UP_SECONDS: u32 = 8;

/// Tables and users are made.
const MAKE_LIMIT: Duration = Duration::from_secs(5);

const MANDATE: &str = "CREATE TABLE IF NOT EXISTS polis_group.mandate (\
     one TINYINT UNSIGNED NOT NULL PRIMARY KEY, epoch BIGINT UNSIGNED NOT NULL, \
     leader VARBINARY(40) NOT NULL, ackers VARBINARY(1024) NOT NULL) ENGINE=InnoDB";

impl Replicas {
    /// Has all other members follow `first`, which must have all that they
    /// have. All must answer.
    pub async fn found(&self, first: &Name) -> Result<Leader, Error> {
        let leader = self.member(first)?;
        let mut nodes = self.locked().await?;
        let stands = stands(&mut nodes).await?;
        if let Some(known) = stands.iter().find_map(|stand| stand.mandate.clone())
            && epoch_of(&stands).is_some()
        {
            return Err(Error::Founded { epoch: known.epoch, leader: known.leader });
        }
        let absent = self.members.iter().filter(|m| stands.iter().all(|s| s.name != m.name));
        let absent: Vec<Name> = absent.map(|member| member.name.clone()).collect();
        if !absent.is_empty() {
            return Err(Error::Missing { members: absent });
        }
        let ackers = self.members.iter().filter(|member| member.city != leader.city);
        let ackers: Vec<Name> = ackers.map(|member| member.name.clone()).collect();
        if ackers.is_empty() {
            return Err(Error::Alone { leader: first.clone() });
        }
        let own = stands.iter().find(|stand| stand.name == *first).expect("all are there");
        for other in &stands {
            let transactions = own.history.errant(&other.history);
            if !transactions.is_empty() {
                let problem = format!("it has what {first} has not: {}", transactions.join(", "));
                return Err(Error::member(&other.name, problem));
            }
        }
        let at = nodes.iter().position(|node| node.name == *first).expect("all are there");
        let mut node = nodes.remove(at);
        self.make(&mut node).await?;
        self.have_followed(&mut node, &mut nodes, leader, &ackers).await?;
        let mandate = Mandate { epoch: Epoch(1), leader: first.clone(), ackers };
        change::require_acknowledgements(&mut node).await?;
        change::write_mandate(&mut node, &mandate, 0).await?;
        change::open(&mut node).await?;
        Ok(Leader { name: first.clone(), epoch: mandate.epoch })
    }

    async fn make(&self, node: &mut Node) -> Result<(), Error> {
        let user = change::quoted(&self.replication.user);
        let password = change::quoted(&self.replication.password);
        let require = if self.replication.secure { " REQUIRE SSL" } else { "" };
        for statement in [
            "CREATE DATABASE IF NOT EXISTS polis_group",
            MANDATE,
            &format!("CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}'{require}"),
            &format!("GRANT REPLICATION SLAVE ON *.* TO '{user}'@'%'"),
            "INSERT IGNORE INTO polis_group.mandate (one, epoch, leader, ackers) VALUES (1, 0, 'nobody', '')",
        ] {
            node.run(statement, MAKE_LIMIT).await?;
        }
        Ok(())
    }

    async fn have_followed(
        &self,
        node: &mut Node,
        others: &mut [Node],
        leader: &Member,
        ackers: &[Name],
    ) -> Result<(), Error> {
        let all = Stand::read(node).await?.history;
        for other in others.iter_mut() {
            other.run_all(&["SET GLOBAL read_only = ON"]).await?;
            self.follow(other, leader, &all, ackers.contains(&other.name)).await?;
        }
        let position = change::position(node).await?;
        for other in others {
            if !change::applied(other, &position, CATCH_UP_SECONDS).await? {
                return Err(other.fails(format!("it does not get to {position}")));
            }
        }
        Ok(())
    }
}
