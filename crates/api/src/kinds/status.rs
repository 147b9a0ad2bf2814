//! What a write through `status` may change besides the status: of metadata
//! more than one would think, since Kubernetes' older kinds never forbade it
//! and their controllers rely on it.

use crate::resource::{Origin, Resource};

/// Of metadata, what any writer may change.
pub const METADATA: &[&str] = &["annotations", "finalizers", "labels", "ownerReferences"];

const ALL_BUT_LABELS: &[&str] = &["annotations", "finalizers", "ownerReferences"];
const ALL_BUT_OWNERS: &[&str] = &["annotations", "finalizers", "labels"];

pub fn takes_along(resource: &Resource) -> &'static [&'static str] {
    let Origin::Builtin(kind) = &resource.origin else { return &[] };
    match (kind.group, kind.kind) {
        // Newer kinds, which do forbid it.
        ("admissionregistration.k8s.io", _)
        | ("certificates.k8s.io", "PodCertificateRequest")
        | ("flowcontrol.apiserver.k8s.io", _)
        | ("networking.k8s.io", "ServiceCIDR")
        | ("resource.k8s.io", _)
        | ("scheduling.k8s.io", _)
        | ("storage.k8s.io", _) => &[],
        ("apps", "Deployment") => ALL_BUT_LABELS,
        ("", "Pod") => ALL_BUT_OWNERS,
        _ => METADATA,
    }
}
