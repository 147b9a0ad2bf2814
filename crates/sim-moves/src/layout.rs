//! What there is: centers, their units, who runs where, and under which address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use topology::{CenterName, Layout, Shard, UnitName};

pub struct Seat {
    pub city: &'static str,
    pub center: &'static str,
    pub unit: &'static str,
    pub standby: &'static str,
    /// Few, so that each of them is moved often.
    pub shards: &'static str,
}

const fn seat(
    city: &'static str,
    center: &'static str,
    unit: &'static str,
    standby: &'static str,
    shards: &'static str,
) -> Seat {
    Seat { city, center, unit, standby, shards }
}

pub const CENTERS: usize = 5;

pub const SEATS: [Seat; CENTERS] = [
    seat("east", "east-1", "rz01", "rz03", "00-02"),
    seat("east", "east-2", "rz02", "rz04", "03-05"),
    seat("south", "south-1", "rz03", "rz05", "06-08"),
    seat("south", "south-2", "rz04", "rz01", "09-11"),
    seat("west", "west-1", "rz05", "rz02", "12-14"),
];

pub const SHARDS: u16 = 15;

/// Those of ours, with the parts that were cut off them.
pub fn shards(layout: &Layout) -> impl Iterator<Item = Shard> + '_ {
    let ours = |buckets: topology::BucketRange| buckets.hundred().number() < SHARDS;
    layout.shards().filter(move |shard| layout.buckets(*shard).is_some_and(ours))
}

/// A process, by the center it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    Store,
    /// API server, controllers, edge and agent.
    Center(usize),
    Ledger(usize),
    /// Users and operators.
    People,
}

/// Where processes are: the centers, the store's place, and outside.
pub const SPOTS: usize = CENTERS + 2;
pub const STORE_SPOT: usize = CENTERS;

const API_PORT: u16 = 443;
const EDGE_PORT: u16 = 8_080;
pub const LEDGER_PORT: u16 = 8_443;

// === impl Seat ===

impl Seat {
    #[must_use]
    pub fn center(&self) -> CenterName {
        self.center.parse().expect("a name")
    }

    #[must_use]
    pub fn unit(&self) -> UnitName {
        self.unit.parse().expect("a name")
    }
}

// === impl Process ===

impl Process {
    #[must_use]
    pub fn spot(self) -> usize {
        match self {
            Process::Center(at) | Process::Ledger(at) => at,
            Process::Store => STORE_SPOT,
            Process::People => STORE_SPOT + 1,
        }
    }

    /// Who listens at an address.
    #[must_use]
    pub fn at(address: &str) -> Option<Process> {
        let address: SocketAddr = address.parse().ok()?;
        let IpAddr::V4(ip) = address.ip() else { return None };
        let at = usize::from(ip.octets()[2]).checked_sub(1).filter(|at| *at < CENTERS)?;
        Some(match address.port() {
            LEDGER_PORT => Process::Ledger(at),
            _ => Process::Center(at),
        })
    }
}

#[must_use]
pub fn ip(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, u8::try_from(at + 1).expect("there are few centers"), 1)
}

#[must_use]
pub fn api_address(at: usize) -> String {
    format!("{}:{API_PORT}", ip(at))
}

#[must_use]
pub fn edge_address(at: usize) -> String {
    format!("{}:{EDGE_PORT}", ip(at))
}

#[must_use]
pub fn is_edge(address: &str) -> bool {
    address.ends_with(&format!(":{EDGE_PORT}"))
}
