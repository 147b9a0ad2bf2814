//! Which keyspaces a certificate opens.
//!
//! Without rules any certificate that TLS has verified opens every keyspace, as
//! in an etcd whose auth is off. With rules a keyspace opens to whom a rule
//! names, and to nobody else.

use identity::{Expected, Peer};
use kv::KeyspaceName;
use rustls::pki_types::CertificateDer;

/// Kubernetes' name for those who may do everything.
const MASTERS: &str = "system:masters";

/// Where processes of Polis itself live, as far as identities go.
const SYSTEM_NAMESPACE: &str = "polis-system";

/// Who may use which keyspaces. The default is everyone, all of them.
#[derive(Clone, Debug, Default)]
pub struct Access {
    rules: Option<Vec<Rule>>,
    /// Stores like this one, which pass on what others ask of them.
    replicas: Option<Who>,
}

/// One sentence: these may use those. Whoever several rules name may use what
/// any of them says.
#[derive(Clone, Debug)]
pub struct Rule {
    pub who: Who,
    pub keyspaces: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Processes, by their SPIFFE id.
    Service(Expected),
    /// People, by an organization in their certificate. One with a SPIFFE id
    /// is a process's, and its organizations mean nothing.
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    All,
    Exactly(String),
    Prefix(String),
}

/// What one connection may use, and the name in its certificate: within a
/// keyspace whose auth is on, that of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    patterns: Vec<Pattern>,
    pub common_name: Option<String>,
    /// What it passes on, it passes on for others.
    pub is_replica: bool,
}

// === impl Access ===

impl Access {
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Access {
        Access { rules: Some(rules), replicas: None }
    }

    /// Lets these use every keyspace, and speak for whoever asked them.
    #[must_use]
    pub fn with_replicas(self, replicas: Who) -> Access {
        Access { replicas: Some(replicas), ..self }
    }

    /// The rules of an estate of ours: API servers keep the federation and the
    /// units, ledgers their shards, and an administrator comes everywhere.
    #[must_use]
    pub fn mesh(trust_domain: &str) -> Access {
        let service =
            |namespace, account| Who::Service(Expected::service(trust_domain, namespace, account));
        let prefix = |text: &str| Pattern::Prefix(text.to_owned());
        Access::new(vec![
            Rule {
                who: service(SYSTEM_NAMESPACE, "apiserver"),
                keyspaces: vec![Pattern::Exactly("federation".into()), prefix("unit-")],
            },
            Rule { who: service("payments", "ledger"), keyspaces: vec![prefix("ledger-")] },
            Rule { who: Who::Group(MASTERS.into()), keyspaces: vec![Pattern::All] },
        ])
        .with_replicas(service(SYSTEM_NAMESPACE, "store"))
    }

    /// What the holder of a verified chain may use; of none, without TLS.
    pub(crate) fn grant(&self, chain: Option<&[CertificateDer<'_>]>) -> Grant {
        let peer = chain.and_then(|chain| {
            let peer = Peer::from_certificates(chain);
            // Verified, so somebody's fault and nobody's attack; it may still
            // do what anybody may.
            let told = |error: &_| {
                tracing::warn!(%error, "a client's certificate says not who it is");
            };
            peer.inspect_err(told).ok()
        });
        let replica = self.replicas.as_ref().zip(peer.as_ref());
        let is_replica = replica.is_some_and(|(replicas, peer)| replicas.is(peer));
        let patterns = match (&self.rules, &peer) {
            (None, _) => vec![Pattern::All],
            (Some(_), Some(_)) if is_replica => vec![Pattern::All],
            (Some(rules), Some(peer)) => patterns(rules, peer),
            (Some(_), None) => Vec::new(),
        };
        let common_name = peer.and_then(|peer| peer.common_name).filter(|name| !name.is_empty());
        Grant { patterns, common_name, is_replica }
    }
}

fn patterns(rules: &[Rule], peer: &Peer) -> Vec<Pattern> {
    let named = rules.iter().filter(|rule| rule.who.is(peer));
    named.flat_map(|rule| rule.keyspaces.iter().cloned()).collect()
}

// === impl Who ===

impl Who {
    fn is(&self, peer: &Peer) -> bool {
        match (self, &peer.spiffe) {
            (Who::Service(expected), Some(id)) => expected.matches(id),
            (Who::Group(group), None) => peer.organizations.contains(group),
            (Who::Service(_), None) | (Who::Group(_), Some(_)) => false,
        }
    }
}

// === impl Grant ===

impl Grant {
    pub fn covers(&self, keyspace: &KeyspaceName) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(keyspace.as_str()))
    }
}

// === impl Pattern ===

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Exactly(exact) => name == exact,
            Pattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of these names, those that `peer` may use.
    fn open(access: &Access, peer: &Peer) -> Vec<&'static str> {
        let patterns = patterns(access.rules.as_deref().expect("rules"), peer);
        let grant = Grant { patterns, common_name: None, is_replica: false };
        let names = ["default", "federation", "federation-2", "unit-rz01", "ledger-05"];
        let covered = |name: &&str| grant.covers(&KeyspaceName::new(name).expect("a name"));
        names.into_iter().filter(covered).collect()
    }

    fn process(spiffe: &str) -> Peer {
        Peer { spiffe: Some(spiffe.parse().expect("an id")), ..Peer::default() }
    }

    #[test]
    fn each_process_of_the_mesh_opens_its_own_keyspaces_and_an_administrator_all() {
        let mesh = Access::mesh("polis.local");
        let of = |spiffe| open(&mesh, &process(spiffe));
        let api = of("spiffe://polis.local/unit/rz03/ns/polis-system/sa/apiserver");
        assert_eq!(api, ["federation", "unit-rz01"]);
        assert_eq!(of("spiffe://polis.local/unit/rz03/ns/payments/sa/ledger"), ["ledger-05"]);
        for none in [
            "spiffe://polis.local/unit/rz01/ns/polis-system/sa/edge",
            "spiffe://polis.local/unit/rz01/ns/polis-system/sa/agent",
            "spiffe://polis.local/unit/rz01/ns/payments/sa/apiserver",
            "spiffe://polis.local/unit/rz01/ns/other/sa/ledger",
            "spiffe://other.example/unit/rz01/ns/polis-system/sa/apiserver",
        ] {
            assert!(of(none).is_empty(), "{none}");
        }
        let admin = Peer { organizations: vec![MASTERS.into()], ..Peer::default() };
        assert_eq!(open(&mesh, &admin).len(), 5);
    }

    #[test]
    fn a_process_is_no_master_whatever_its_organization_says() {
        let edge = process("spiffe://polis.local/unit/rz01/ns/polis-system/sa/edge");
        let edge = Peer { organizations: vec![MASTERS.into()], ..edge };
        assert!(open(&Access::mesh("polis.local"), &edge).is_empty());
    }

    #[test]
    fn without_rules_everything_is_open_and_with_rules_nothing_is_to_nobody() {
        let name = KeyspaceName::default();
        assert!(Access::default().grant(None).covers(&name));
        assert!(!Access::mesh("polis.local").grant(None).covers(&name));
    }
}
