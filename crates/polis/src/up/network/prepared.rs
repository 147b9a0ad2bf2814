//! Networks that outlive `up`: the nodes of a database stand in those of their
//! centers, are started before `up` is, and go on after it.
//!
//! What happens to the line of a center then happens to its node as well, and
//! no rule has to know of nodes.

use std::{net::IpAddr, path::PathBuf};

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::{NAMESPACES, Network, claim, is_of};
use crate::{
    data::DataDir,
    layout::{Layout, LayoutName},
    subnet::Subnet,
    up::database_node::DatabaseNode,
};

/// What was prepared in a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    pub layout: LayoutName,
    pub subnet: Subnet,
}

/// Makes the networks of a layout, and says where the node of each center is to
/// be. Those that are there already are only shown.
pub fn prepare(data: &DataDir, layout: LayoutName) -> anyhow::Result<()> {
    let found = Prepared::find(data, layout)?;
    let prepared = match found {
        Some(prepared) => prepared,
        None => {
            let prepared = Prepared { layout, subnet: claim(data.path(), None)? };
            // At once: whoever finds us killed must know what to remove.
            data.save_prepared(&prepared)?;
            let layout = Layout::new(layout, 0, Some(prepared.subnet));
            Network::build(&layout, prepared.subnet)?;
            prepared
        }
    };
    let layout = Layout::new(prepared.layout, 0, Some(prepared.subnet));
    println!("{:<10} {:<16} NETWORK", "CENTER", "ADDRESS");
    for plan in &layout.centers {
        let namespace =
            PathBuf::from(NAMESPACES).join(prepared.subnet.namespace(plan.center.as_str()));
        println!("{:<10} {:<16} {}", plan.center, plan.address, namespace.display());
    }
    Ok(())
}

// === impl Prepared ===

impl Prepared {
    /// What is there of an earlier call.
    pub fn find(data: &DataDir, layout: LayoutName) -> anyhow::Result<Option<Prepared>> {
        let Some(prepared) = data.prepared()? else { return Ok(None) };
        if !is_of(data.path(), prepared.subnet) {
            // The machine has been started anew since.
            return Ok(None);
        }
        if prepared.layout != layout {
            let code = errors::LAYOUT_DIFFERS;
            bail!(
                "{code}: the networks in {} are of layout {}, and {layout} was asked for: remove \
                 them with `polis up --cleanup`",
                data.path().display(),
                prepared.layout
            );
        }
        Ok(Some(prepared))
    }
}

/// Nobody reaches a loopback but its own center: each has one.
pub fn check_reachable(nodes: &[DatabaseNode], database: Option<&str>) -> anyhow::Result<()> {
    let named = nodes.iter().map(|node| node.address.as_str());
    let servers = database.and_then(|url| url.split_once('@')).map_or("", |(_, rest)| rest);
    let servers = servers.split('/').next().unwrap_or_default().split(',');
    let is_loopback = |address: &&str| {
        let host = address.rsplit_once(':').map_or(*address, |(host, _)| host);
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    };
    if let Some(address) = named.chain(servers).find(is_loopback) {
        let code = errors::NETWORK_UNAVAILABLE;
        bail!(
            "{code}: {address} is another machine in the network of each center. `polis up \
             --prepare-networks` says which addresses nodes may have"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_centers_cannot_reach_is_refused() {
        let check = |url: &str| check_reachable(&[], Some(url));
        assert!(check("mysql://u@198.18.7.10:3306,198.18.7.11:3306/d").is_ok());
        assert!(check("mysql://u@db.example:3306/d?ssl-mode=disabled").is_ok());
        for url in
            ["mysql://u@127.0.0.1:3306/d", "mysql://u@h:1,localhost/d", "mysql://u@[::1]:9/d"]
        {
            let refused = check(url).expect_err(url).to_string();
            assert!(refused.contains("PLS0012"), "{refused}");
        }
        let node = "east-1=127.0.0.1:1=/pid".parse().expect("a node");
        assert!(check_reachable(&[node], None).is_err());
    }
}
