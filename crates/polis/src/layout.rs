//! Layouts of `polis up`: which cities, centers and units, and which shards
//! live where. Ports follow from the base port.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use resources::PortRange;
use serde::{Deserialize, Serialize};
use topology::{CenterName, CityName, DEFAULT_SHARDS, Shard, ShardSet, UnitName};

use crate::subnet::Subnet;

/// Ports from the base port on: 0 API door, 1 store, 10.. API replicas, 20..
/// edges, 30.. agents, 40.. edge administration, 100.. pods.
const STORE: u16 = 1;
const API: u16 = 10;
const EDGE: u16 = 20;
const AGENT: u16 = 30;
const EDGE_ADMIN: u16 = 40;
const PODS: u16 = 100;
const PODS_PER_UNIT: u16 = 20;
/// Units of the layout and rented ones together.
const UNITS_MAX: u16 = 8;

/// One center with its unit.
struct Place {
    city: &'static str,
    center: &'static str,
    /// A witness only sees and votes: it has no shards.
    witness: bool,
    standby: Option<usize>,
}

/// A named layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum LayoutName {
    /// Three cities, five centers: losing a city loses no payment, service is
    /// back in seconds.
    #[value(name = "2+2+1")]
    #[serde(rename = "2+2+1")]
    TwoTwoOne,
    /// Two cities that serve and a witness in a third: losing one of the two
    /// loses no payment as long as the witness lives.
    #[value(name = "2+1")]
    #[serde(rename = "2+1")]
    TwoOne,
    /// One center: for trying things. Losing it loses service until it is back.
    #[value(name = "1")]
    #[serde(rename = "1")]
    One,
}

/// A layout with names and ports filled in.
#[derive(Clone, Debug)]
pub struct Layout {
    pub base_port: u16,
    /// Where each center has a network of its own; none if all are on loopback.
    pub subnet: Option<Subnet>,
    pub centers: Vec<CenterPlan>,
}

/// All of one center.
#[derive(Clone, Debug)]
pub struct CenterPlan {
    pub city: CityName,
    pub center: CenterName,
    pub unit: UnitName,
    pub standbys: Vec<UnitName>,
    pub shards: ShardSet,
    pub address: Ipv4Addr,
    pub api_port: u16,
    pub edge_port: u16,
    pub agent_port: u16,
    pub edge_admin_port: u16,
    pub pod_ports: PortRange,
}

// === impl LayoutName ===

impl LayoutName {
    fn places(self) -> Vec<Place> {
        let place = |city, center, standby| Place { city, center, witness: false, standby };
        match self {
            // Each unit's standby is in another city, and no unit is standby twice.
            LayoutName::TwoTwoOne => vec![
                place("east", "east-1", Some(2)),
                place("east", "east-2", Some(3)),
                place("south", "south-1", Some(4)),
                place("south", "south-2", Some(0)),
                place("west", "west-1", Some(1)),
            ],
            LayoutName::TwoOne => vec![
                place("east", "east-1", Some(1)),
                place("south", "south-1", Some(0)),
                Place { city: "west", center: "west-1", witness: true, standby: None },
            ],
            LayoutName::One => vec![place("east", "east-1", None)],
        }
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LayoutName::TwoTwoOne => "2+2+1",
            LayoutName::TwoOne => "2+1",
            LayoutName::One => "1",
        })
    }
}

// === impl Layout ===

impl Layout {
    #[must_use]
    pub fn new(name: LayoutName, base_port: u16, subnet: Option<Subnet>) -> Layout {
        let places = name.places();
        let unit = |index: usize| -> UnitName {
            format!("rz{:02}", index + 1).parse().expect("a unit's number makes a name")
        };
        // Witnesses come last, so the shares are those of the first places.
        let serving = places.iter().filter(|place| !place.witness).count();
        let centers = places
            .iter()
            .enumerate()
            .map(|(index, place)| {
                let offset = u16::try_from(index).expect("a layout has few centers");
                let first = base_port + PODS + offset * PODS_PER_UNIT;
                let number = u8::try_from(index).expect("a layout has few centers");
                CenterPlan {
                    city: place.city.parse().expect("a constant name"),
                    center: place.center.parse().expect("a constant name"),
                    unit: unit(index),
                    standbys: place.standby.map(unit).into_iter().collect(),
                    shards: if place.witness { ShardSet::default() } else { share(index, serving) },
                    address: subnet.map_or(Ipv4Addr::LOCALHOST, |subnet| subnet.center(number)),
                    api_port: base_port + API + offset,
                    edge_port: base_port + EDGE + offset,
                    agent_port: base_port + AGENT + offset,
                    edge_admin_port: base_port + EDGE_ADMIN + offset,
                    pod_ports: PortRange { first, last: first + PODS_PER_UNIT - 1 },
                }
            })
            .collect();
        Layout { base_port, subnet, centers }
    }

    /// The highest base port whose last pod port still exists.
    pub const BASE_PORT_MAX: u16 = u16::MAX - PODS - UNITS_MAX * PODS_PER_UNIT;

    /// Where the agents of rented units listen, and the ports of their pods: so
    /// many places there are.
    pub fn rentable(&self) -> impl Iterator<Item = (u16, PortRange)> + '_ {
        let taken = u16::try_from(self.centers.len()).expect("a layout has few centers");
        (taken..UNITS_MAX).map(|slot| {
            let first = self.base_port + PODS + slot * PODS_PER_UNIT;
            (self.base_port + AGENT + slot, PortRange { first, last: first + PODS_PER_UNIT - 1 })
        })
    }

    #[must_use]
    pub fn store_port(&self) -> u16 {
        self.base_port + STORE
    }

    #[must_use]
    pub fn store(&self) -> SocketAddr {
        let address = self.subnet.map_or(Ipv4Addr::LOCALHOST, Subnet::store);
        SocketAddr::from((address, self.store_port()))
    }

    #[must_use]
    pub fn cities(&self) -> Vec<CityName> {
        let mut cities: Vec<_> = self.centers.iter().map(|plan| plan.city.clone()).collect();
        cities.dedup();
        cities
    }

    /// Every port of this machine that `up` itself must be able to take.
    pub fn ports(&self) -> impl Iterator<Item = (u16, String)> + '_ {
        let all = self.all_ports();
        // Centers with networks of their own have all ports to themselves.
        let count = if self.subnet.is_some() { 1 } else { usize::MAX };
        all.take(count)
    }

    fn all_ports(&self) -> impl Iterator<Item = (u16, String)> + '_ {
        let own =
            [(self.base_port, "API door".to_owned()), (self.store_port(), "store".to_owned())];
        let centers = self.centers.iter().flat_map(|plan| {
            let of = |what: &str| format!("{what} of {}", plan.center);
            [
                (plan.api_port, of("API server")),
                (plan.edge_port, of("edge")),
                (plan.agent_port, of("agent")),
                (plan.edge_admin_port, of("edge administration")),
            ]
        });
        own.into_iter().chain(centers)
    }
}

// === impl CenterPlan ===

impl CenterPlan {
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.at(self.api_port)
    }

    #[must_use]
    pub fn edge(&self) -> SocketAddr {
        self.at(self.edge_port)
    }

    #[must_use]
    pub fn edge_admin(&self) -> SocketAddr {
        self.at(self.edge_admin_port)
    }

    #[must_use]
    pub fn agent(&self) -> SocketAddr {
        self.at(self.agent_port)
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address, port))
    }
}

/// The `index`th of `count` equal shares of all shards.
fn share(index: usize, count: usize) -> ShardSet {
    let shards = usize::from(DEFAULT_SHARDS);
    let (first, end) = (index * shards / count, (index + 1) * shards / count);
    Shard::all().filter(|shard| (first..end).contains(&usize::from(shard.number()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_one_home_and_every_standby_is_in_another_city() {
        for name in [LayoutName::TwoTwoOne, LayoutName::TwoOne, LayoutName::One] {
            let layout = Layout::new(name, 7400, None);
            let shards: Vec<_> =
                layout.centers.iter().flat_map(|plan| plan.shards.iter()).collect();
            assert_eq!(shards, Shard::all().collect::<Vec<_>>(), "{name}");
            for plan in &layout.centers {
                for standby in &plan.standbys {
                    let other = layout.centers.iter().find(|other| other.unit == *standby);
                    assert!(other.is_some_and(|other| other.city != plan.city), "{name}");
                }
            }
        }
    }

    #[test]
    fn the_reference_layout_gives_twenty_shards_to_each_of_five_units() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let shares: Vec<_> = layout.centers.iter().map(|plan| plan.shards.to_string()).collect();
        assert_eq!(shares, ["00-19", "20-39", "40-59", "60-79", "80-99"]);
        let mut ports: Vec<_> = layout.ports().map(|(port, _)| port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), layout.ports().count(), "no port is used twice");
    }
}
