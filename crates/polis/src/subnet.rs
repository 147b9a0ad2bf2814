//! The addresses of an estate whose centers have networks of their own.
//!
//! They come from 198.18.0.0/15, which is set apart for tests of networks, so
//! nothing else on the machine routes there. Each estate has a /24 of its own,
//! and its number names everything it makes: `polis7`, `polis7-east-1`.

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

/// Which /24: 1 to 254.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subnet(u8);

// === impl Subnet ===

impl Subnet {
    pub fn all() -> impl Iterator<Item = Subnet> {
        (1..=254).map(Subnet)
    }

    /// Of the machine itself, where the users are.
    #[must_use]
    pub fn host(self) -> Ipv4Addr {
        self.address(1)
    }

    #[must_use]
    pub fn store(self) -> Ipv4Addr {
        self.address(2)
    }

    /// Of the `index`th center.
    #[must_use]
    pub fn center(self, index: u8) -> Ipv4Addr {
        self.address(10 + index)
    }

    /// The namespace of a center or of the store.
    #[must_use]
    pub fn namespace(self, place: &str) -> String {
        format!("{self}-{place}")
    }

    /// Our end of the link to the `index`th place. Names of links have 15
    /// characters at most.
    #[must_use]
    pub fn link(self, index: usize) -> String {
        format!("{self}-{index}")
    }

    /// The hardware address of its bridge; nobody else's, as the first byte says.
    #[must_use]
    pub fn link_address(self) -> String {
        format!("02:50:4c:53:00:{:02x}", self.0)
    }

    fn address(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.0, last)
    }
}

/// The name of its bridge.
impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "polis{}", self.0)
    }
}
