//! What hangs below an object.

/// A part of an object with an address of its own, or something done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subresource {
    /// What was seen, written by another hand than the rest.
    Status,
    /// A count of replicas, the same for every kind that has one.
    Scale,
    /// The finalizers of a namespace.
    Finalize,
    /// Whether a certificate may be signed.
    Approval,
    /// A node for a pod.
    Binding,
    Eviction,
    EphemeralContainers,
    Resize,
    /// A token for a service account.
    Token,
    Log,
    Exec,
    Attach,
    PortForward,
}

/// All of them.
pub const ALL: [Subresource; 13] = [
    Subresource::Status,
    Subresource::Scale,
    Subresource::Finalize,
    Subresource::Approval,
    Subresource::Binding,
    Subresource::Eviction,
    Subresource::EphemeralContainers,
    Subresource::Resize,
    Subresource::Token,
    Subresource::Log,
    Subresource::Exec,
    Subresource::Attach,
    Subresource::PortForward,
];

// === impl Subresource ===

impl Subresource {
    /// From a path's segment.
    pub fn parse(segment: &str) -> Option<Subresource> {
        ALL.into_iter().find(|sub| sub.as_str() == segment)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::Approval => "approval",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
            Subresource::Token => "token",
            Subresource::Log => "log",
            Subresource::Exec => "exec",
            Subresource::Attach => "attach",
            Subresource::PortForward => "portforward",
        }
    }

    /// Whether it is a connection to what runs.
    pub fn connects(self) -> bool {
        matches!(self, Subresource::Exec | Subresource::Attach | Subresource::PortForward)
    }

    /// Whether it is served for as long as the caller likes.
    pub fn goes_on(self) -> bool {
        self.connects() || self == Subresource::Log
    }

    /// What may be done with it.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Subresource::Status
            | Subresource::Scale
            | Subresource::Approval
            | Subresource::EphemeralContainers
            | Subresource::Resize => &["get", "patch", "update"],
            Subresource::Finalize => &["update"],
            Subresource::Binding | Subresource::Eviction | Subresource::Token => &["create"],
            Subresource::Log => &["get"],
            Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
                &["create", "get"]
            }
        }
    }
}
