//! Who asks: from the client certificate, and from nothing else.

use identity::SpiffeId;
use topology::UnitName;

/// Our own processes that keep the estate: API servers and controllers.
pub const POLIS: &str = "system:polis";
/// May do everything.
pub const MASTERS: &str = "system:masters";
/// May read everything.
pub const VIEWERS: &str = "polis:viewers";

/// May carry out drills on cities that allow them.
pub const DRILLERS: &str = "polis:drillers";

/// Where processes of Polis itself live.
const SYSTEM_NAMESPACE: &str = "polis-system";

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub groups: Vec<String>,
    /// The unit whose agent this is. No group, since groups may be written in
    /// a person's certificate.
    agent_of: Option<UnitName>,
}

// === impl Caller ===

impl Caller {
    pub fn anonymous() -> Caller {
        let groups = vec![UNAUTHENTICATED.into()];
        Caller { name: "system:anonymous".into(), groups, agent_of: None }
    }

    pub fn user(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Caller {
        // Kubernetes' own groups mean what they mean wherever they are written,
        // but nobody is made a process of ours by an organization in a
        // certificate: that takes a SPIFFE identity.
        let mut groups: Vec<String> = groups.into_iter().filter(|group| group != POLIS).collect();
        groups.push(AUTHENTICATED.into());
        Caller { name: name.into(), groups, agent_of: None }
    }

    /// A process of the mesh, by its service account: whichever is not listed
    /// needs nothing of this API.
    pub fn process(id: &SpiffeId) -> Caller {
        let account = match id.namespace.as_str() {
            SYSTEM_NAMESPACE => id.service_account.as_str(),
            _ => "",
        };
        let (group, agent_of) = match account {
            "apiserver" | "controllers" => (Some(POLIS), None),
            "edge" => (Some(VIEWERS), None),
            "agent" => (Some(VIEWERS), id.unit.parse().ok()),
            _ => (None, None),
        };
        let groups = group.into_iter().chain([AUTHENTICATED]).map(str::to_owned).collect();
        Caller { name: id.to_string(), groups, agent_of }
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

    pub fn is_agent_of(&self, unit: &UnitName) -> bool {
        self.agent_of.as_ref() == Some(unit)
    }

    pub fn is_agent(&self) -> bool {
        self.agent_of.is_some()
    }
}
