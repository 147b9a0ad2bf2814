//! The names of admission plugins: a typing error is refused, as is being asked
//! for what is not there.

use anyhow::bail;

/// kube-apiserver's plugins. Those that are not served yet are taken with a
/// warning when they only add convenience.
const PLUGINS: &[&str] = &[
    "AlwaysAdmit",
    "AlwaysDeny",
    "AlwaysPullImages",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "DenyServiceExternalIPs",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "ImagePolicyWebhook",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "NamespaceLifecycle",
    "NodeRestriction",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "PodNodeSelector",
    "PodSecurity",
    "PodTolerationRestriction",
    "PodTopologyLabels",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

/// Those that are at work here, whatever is asked for.
const SERVED: &[&str] = &[
    "AlwaysAdmit",
    "MutatingAdmissionWebhook",
    "NamespaceLifecycle",
    "ResourceQuota",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

pub fn known(names: Option<&[String]>) -> anyhow::Result<Vec<String>> {
    let names = names.unwrap_or_default();
    for name in names {
        if !PLUGINS.contains(&name.as_str()) {
            bail!("admission-control plugin {name:?} is unknown");
        }
        if !SERVED.contains(&name.as_str()) {
            tracing::warn!(plugin = %name, "the admission plugin {name} is not served yet");
        }
    }
    Ok(names.to_vec())
}
