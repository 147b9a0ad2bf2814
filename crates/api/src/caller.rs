//! Who asks, as a certificate, a token or an impersonation said.

use std::collections::BTreeMap;

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

pub const AUTHENTICATED: &str = "system:authenticated";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
pub const ANONYMOUS: &str = "system:anonymous";

/// What else is known of a caller, by key.
pub type Extra = BTreeMap<String, Vec<String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    /// Empty when whoever told of the caller has no such thing.
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: Extra,
    /// Who really asks, when it speaks for this one; empty otherwise.
    pub acting: String,
    /// The unit whose agent this is. No group, since groups may be written in
    /// a person's certificate.
    agent_of: Option<UnitName>,
}

// === impl Caller ===

impl Caller {
    pub fn anonymous() -> Caller {
        Caller::exactly(ANONYMOUS, vec![UNAUTHENTICATED.into()])
    }

    pub fn user(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Caller {
        // Kubernetes' own groups mean what they mean wherever they are written,
        // but nobody is made a process of ours by an organization in a
        // certificate: that takes a SPIFFE identity.
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Caller::exactly(name, groups)
    }

    /// With these groups and no others, but never as a process of ours.
    pub fn exactly(name: impl Into<String>, mut groups: Vec<String>) -> Caller {
        groups.retain(|group| group != POLIS);
        Caller {
            name: name.into(),
            uid: String::new(),
            groups,
            extra: Extra::new(),
            acting: String::new(),
            agent_of: None,
        }
    }

    #[must_use]
    pub fn with_uid(self, uid: impl Into<String>) -> Caller {
        Caller { uid: uid.into(), ..self }
    }

    #[must_use]
    pub fn played_by(self, other: &Caller) -> Caller {
        Caller { acting: other.name.clone(), ..self }
    }

    #[must_use]
    pub fn with_extra(self, extra: Extra) -> Caller {
        Caller { extra, ..self }
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
        Caller { groups, agent_of, ..Caller::exactly(id.to_string(), Vec::new()) }
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
