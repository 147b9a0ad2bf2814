//! Who is on the other side of a connection, and what that lets it do.

use identity::Peer as Certificate;

use crate::Error;

/// The other side, as TLS proved it.
#[derive(Clone, Debug)]
pub enum Peer {
    /// The ledger listens without TLS.
    Plaintext,
    /// TLS without a certificate of the client's: health checks and metrics.
    Anonymous,
    Known(Certificate),
}

/// A service account in its namespace, in whichever unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub namespace: String,
    pub name: String,
}

/// Whose word counts for what.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Whose stamps are believed.
    pub edges: Vec<Account>,
    /// Who raises and drains.
    pub controllers: Vec<Account>,
    /// Whether a peer without TLS may do everything: tests only.
    pub plaintext: bool,
}

// === impl Account ===

impl Account {
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Account {
        Account { namespace: namespace.into(), name: name.into() }
    }
}

// === impl Trust ===

impl Trust {
    pub fn edge(&self, peer: &Peer) -> Result<(), Error> {
        self.check(peer, &self.edges, "payments are taken from edges only")
    }

    pub fn controller(&self, peer: &Peer) -> Result<(), Error> {
        self.check(peer, &self.controllers, "fences are taken from controllers only")
    }

    fn check(&self, peer: &Peer, allowed: &[Account], refusal: &'static str) -> Result<(), Error> {
        let fits = match peer {
            Peer::Plaintext => self.plaintext,
            Peer::Anonymous => false,
            Peer::Known(certificate) => allowed
                .iter()
                .any(|account| certificate.is_service(&account.namespace, &account.name)),
        };
        if fits { Ok(()) } else { Err(Error::Peer(refusal)) }
    }
}

impl Default for Trust {
    /// The accounts of the reference layout.
    fn default() -> Trust {
        Trust {
            edges: vec![Account::new("polis-system", "edge")],
            controllers: vec![Account::new("polis-system", "controllers")],
            plaintext: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(spiffe: &str) -> Peer {
        let spiffe = Some(spiffe.parse().expect("an id"));
        Peer::Known(Certificate { spiffe, ..Certificate::default() })
    }

    #[test]
    fn edges_pay_controllers_fence_and_nobody_else_does_either() {
        let trust = Trust::default();
        let edge = known("spiffe://polis.local/unit/rz02/ns/polis-system/sa/edge");
        let controllers = known("spiffe://polis.local/unit/rz02/ns/polis-system/sa/controllers");
        let other = known("spiffe://polis.local/unit/rz02/ns/payments/sa/edge");
        assert!(trust.edge(&edge).is_ok() && trust.controller(&edge).is_err());
        assert!(trust.controller(&controllers).is_ok() && trust.edge(&controllers).is_err());
        for stranger in [other, Peer::Anonymous, Peer::Plaintext] {
            assert!(trust.edge(&stranger).is_err() && trust.controller(&stranger).is_err());
        }
    }
}
