//! Who asks: from the client certificate, and from nothing else.

/// Our own processes.
pub const POLIS: &str = "system:polis";
/// May do everything.
pub const MASTERS: &str = "system:masters";
/// May read everything.
pub const VIEWERS: &str = "polis:viewers";

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub groups: Vec<String>,
}

// === impl Caller ===

impl Caller {
    pub fn anonymous() -> Caller {
        Caller { name: "system:anonymous".into(), groups: vec![UNAUTHENTICATED.into()] }
    }

    pub fn user(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Caller {
        // Kubernetes' own groups mean what they mean wherever they are written,
        // but nobody is made a process of ours by an organization in a
        // certificate: that takes a SPIFFE identity.
        let mut groups: Vec<String> = groups.into_iter().filter(|group| group != POLIS).collect();
        groups.push(AUTHENTICATED.into());
        Caller { name: name.into(), groups }
    }

    /// A process of ours, by its SPIFFE id.
    pub fn process(spiffe: impl Into<String>) -> Caller {
        Caller { name: spiffe.into(), groups: vec![POLIS.into(), AUTHENTICATED.into()] }
    }

    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    pub fn is_anonymous(&self) -> bool {
        self.is_in(UNAUTHENTICATED)
    }

    pub fn is_polis(&self) -> bool {
        self.is_in(POLIS)
    }
}
