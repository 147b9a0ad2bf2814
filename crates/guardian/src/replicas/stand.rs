//! What one server says of itself.

use engine::sql::Endpoint;

use crate::{
    Epoch, Error, History, Mandate, Member, Name,
    node::{Node, SHORT, column},
};

#[derive(Clone, Debug)]
pub struct Stand {
    pub name: Name,
    pub is_read_only: bool,
    pub history: History,
    pub mandate: Option<Mandate>,
    /// It is told to acknowledge. Off when a server starts, so one that is on
    /// has been so since it was let in.
    pub acknowledges: bool,
    /// From whom it fetches, or would.
    pub source: Option<Endpoint>,
    /// `Yes`, `No` or `Connecting`.
    pub is_fetching: bool,
    pub is_applying: bool,
    /// Why it does not.
    pub problem: String,
    /// What it has received whole.
    pub received: String,
}

const MANDATE: &str = "SELECT epoch, leader, ackers FROM polis_group.mandate WHERE one = 1";

// === impl Stand ===

impl Stand {
    pub async fn read(node: &mut Node) -> Result<Stand, Error> {
        let settings = node
            .rows(
                "SELECT @@global.read_only AS read_only, @@global.gtid_binlog_state AS history, \
                 @@global.rpl_semi_sync_slave_enabled AS acknowledges",
                SHORT,
            )
            .await?;
        let settings = settings.first().ok_or_else(|| node.fails("it tells no settings"))?;
        let is_on = |name: &str| ["1", "ON"].contains(&column(settings, name).as_str());
        let slave = node.rows("SHOW SLAVE STATUS", SHORT).await?;
        let slave = slave.first();
        let of_slave = |name: &str| slave.map(|row| column(row, name)).unwrap_or_default();
        let source = slave.map(|row| Endpoint {
            host: column(row, "Master_Host"),
            port: row.get_opt::<u16, _>("Master_Port").and_then(Result::ok).unwrap_or(0),
        });
        let problem = [of_slave("Last_IO_Error"), of_slave("Last_SQL_Error")];
        Ok(Stand {
            name: node.name.clone(),
            is_read_only: is_on("read_only"),
            history: History::parse(&column(settings, "history"))?,
            mandate: mandate(node).await?,
            acknowledges: is_on("acknowledges"),
            source,
            is_fetching: of_slave("Slave_IO_Running") != "No" && slave.is_some(),
            is_applying: of_slave("Slave_SQL_Running") == "Yes",
            problem: problem
                .iter()
                .filter(|p| !p.is_empty())
                .cloned()
                .collect::<Vec<_>>()
                .join("; "),
            received: of_slave("Gtid_IO_Pos"),
        })
    }

    /// The epoch under which it takes writes.
    pub fn leads(&self) -> Option<Epoch> {
        let mandate = self.mandate.as_ref().filter(|mandate| mandate.leader == self.name)?;
        (!self.is_read_only).then_some(mandate.epoch)
    }

    pub fn follows(&self, leader: &Member) -> bool {
        self.source.as_ref() == Some(&leader.endpoint) && self.is_fetching && self.is_applying
    }

    /// It has acknowledged without a break, and has still all that it received:
    /// it applies it, or had done so when it was detached ([`super::change`]).
    pub fn vouches(&self) -> bool {
        self.acknowledges && (self.is_applying || self.source.is_none())
    }
}

async fn mandate(node: &mut Node) -> Result<Option<Mandate>, Error> {
    let rows = node.rows_if_any(MANDATE).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let epoch = row.get_opt::<u64, _>("epoch").and_then(Result::ok);
    let epoch = epoch.ok_or_else(|| node.fails("its mandate has no epoch"))?;
    if epoch == 0 {
        // A founding that was cut off.
        return Ok(None);
    }
    let ackers = column(row, "ackers");
    let ackers = ackers.split(',').filter(|name| !name.is_empty()).map(str::parse);
    Ok(Some(Mandate {
        epoch: Epoch(epoch),
        leader: column(row, "leader").parse()?,
        ackers: ackers.collect::<Result<_, _>>()?,
    }))
}
