//! The few rules that are a kind's own, as pure functions over its JSON.

pub mod address;
pub mod admission_policy;
pub mod attachment;
pub mod autoscaler;
pub mod check;
pub mod classes;
pub mod device;
pub mod endpoints;
pub mod event;
pub mod flow;
pub mod ingress;
pub mod job;
pub mod namespace;
pub mod network_policy;
pub mod ours;
pub mod pod;
pub mod pod_spec;
pub mod quota;
pub mod rbac;
mod schedule;
pub mod secret;
pub mod service;
pub mod shard_map;
pub mod shard_move;
pub mod signing;
pub mod small;
pub mod status;
pub mod storage;
pub mod unit;
pub mod unit_rental;
pub mod webhook;
pub mod workload;

use schema::builtin::Kind;

use crate::{
    custom::{definition, validate},
    resource::{KeptAs, NameRule, Rules},
};

/// Kubernetes keeps events for an hour too.
pub const EVENT_TTL_S: u64 = 3600;

/// What no schema says of a built-in kind.
pub fn rules(kind: &Kind) -> Rules {
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::RULES,
        ("", "Namespace") => Rules { create: namespace::create, ..Rules::NONE },
        ("", "Node") => {
            Rules { default: small::default_node, validate: small::validate_node, ..Rules::NONE }
        }
        ("", "ConfigMap") => Rules {
            validate: small::validate_config_map,
            validate_update: small::validate_config_map_update,
            ..Rules::NONE
        },
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Rules {
            default: definition::default,
            validate: validate::validate,
            validate_update: validate::validate_update,
            ..Rules::NONE
        },
        ("", "Event") => Rules { validate: event::validate, ..Rules::NONE },
        ("coordination.k8s.io", "Lease") => {
            Rules { validate: small::validate_lease, ..Rules::NONE }
        }
        ("", "Endpoints") => endpoints::ENDPOINTS,
        ("", "LimitRange") => quota::LIMITS,
        ("", "PersistentVolume") => storage::VOLUME,
        ("", "PersistentVolumeClaim") => storage::CLAIM,
        ("", "ResourceQuota") => quota::QUOTA,
        ("", "Secret") => secret::RULES,
        ("", "Service") => service::RULES,
        ("", "PodTemplate") => workload::POD_TEMPLATE,
        ("", "ReplicationController") => {
            Rules { orphans: true, ..workload::REPLICATION_CONTROLLER }
        }
        ("apps", "Deployment") => workload::DEPLOYMENT,
        ("apps", "ReplicaSet") => workload::REPLICA_SET,
        ("apps", "DaemonSet") => workload::DAEMON_SET,
        ("apps", "StatefulSet") => workload::STATEFUL_SET,
        ("apps", "ControllerRevision") => workload::CONTROLLER_REVISION,
        ("batch", "Job") => Rules { orphans: true, ..job::JOB },
        ("batch", "CronJob") => job::CRON_JOB,
        ("autoscaling", "HorizontalPodAutoscaler") if kind.version == "v1" => autoscaler::V1,
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler::V2,
        ("policy", "PodDisruptionBudget") => autoscaler::BUDGET,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => flow::SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => flow::LEVEL,
        ("networking.k8s.io", "Ingress") => ingress::INGRESS,
        ("networking.k8s.io", "IngressClass") => ingress::CLASS,
        ("networking.k8s.io", "NetworkPolicy") => network_policy::RULES,
        ("rbac.authorization.k8s.io", "Role") => rbac::ROLE,
        ("rbac.authorization.k8s.io", "ClusterRole") => rbac::CLUSTER_ROLE,
        ("rbac.authorization.k8s.io", "RoleBinding") => rbac::BINDING,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => rbac::CLUSTER_BINDING,
        ("networking.k8s.io", "ServiceCIDR") => address::NETWORK,
        ("networking.k8s.io", "IPAddress") => address::ADDRESS,
        ("storage.k8s.io", "StorageClass") => storage::CLASS,
        ("storage.k8s.io", "VolumeAttachment") => attachment::ATTACHMENT,
        ("storage.k8s.io", "VolumeAttributesClass") => attachment::ATTRIBUTES,
        ("storage.k8s.io", "CSINode") => attachment::NODE,
        ("storage.k8s.io", "CSIStorageCapacity") => attachment::CAPACITY,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            admission_policy::VALIDATING
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            admission_policy::VALIDATING_BINDING
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => admission_policy::MUTATING,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => {
            admission_policy::MUTATING_BINDING
        }
        ("resource.k8s.io", "ResourceClaim") => device::CLAIM,
        ("resource.k8s.io", "ResourceClaimTemplate") => device::CLAIM_TEMPLATE,
        ("resource.k8s.io", "ResourceSlice") => device::SLICE,
        ("resource.k8s.io", "DeviceTaintRule") => device::TAINT,
        ("scheduling.k8s.io", "PriorityClass") => classes::PRIORITY,
        ("node.k8s.io", "RuntimeClass") => classes::RUNTIME,
        ("discovery.k8s.io", "EndpointSlice") => endpoints::SLICE,
        ("events.k8s.io", "Event") => Rules { validate: event::validate_newer, ..Rules::NONE },
        ("certificates.k8s.io", "CertificateSigningRequest") => Rules {
            asked_by: small::signing_asked_by,
            validate: small::validate_signing,
            validate_update: small::validate_signing_update,
            ..Rules::NONE
        },
        ("apiregistration.k8s.io", "APIService") => {
            Rules { validate: small::validate_api_service, ..Rules::NONE }
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => webhook::RULES,
        _ => Rules::NONE,
    }
}

/// Kinds that have the same objects as another.
pub fn kept_as(kind: &Kind) -> Option<KeptAs> {
    match (kind.group, kind.version, kind.kind) {
        ("events.k8s.io", _, "Event") => Some(event::NEWER_KEPT),
        ("autoscaling", "v1", "HorizontalPodAutoscaler") => Some(autoscaler::V1_KEPT),
        _ => None,
    }
}

/// Whether `metadata.generation` counts changes of what is wanted.
pub fn counts_intent(kind: &Kind) -> bool {
    match kind.group {
        "" => matches!(kind.kind, "Pod" | "PodTemplate" | "ReplicationController"),
        "apps" => kind.kind != "ControllerRevision",
        "autoscaling"
        | "batch"
        | "policy"
        | "apiextensions.k8s.io"
        | "admissionregistration.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "discovery.k8s.io"
        | "scheduling.k8s.io" => true,
        "resource.k8s.io" => {
            matches!(kind.kind, "DeviceClass" | "DeviceTaintRule" | "ResourceSlice")
        }
        "networking.k8s.io" => matches!(kind.kind, "Ingress" | "IngressClass" | "NetworkPolicy"),
        _ => false,
    }
}

pub fn name_rule(kind: &Kind) -> NameRule {
    match (kind.group, kind.kind) {
        ("", "Namespace" | "Service") => NameRule::Label,
        // `system:node`, `a/b`: whatever a path's segment can be.
        ("rbac.authorization.k8s.io", _) => NameRule::Segment,
        // `SIGNER:NAME`.
        ("certificates.k8s.io", "ClusterTrustBundle") => NameRule::Segment,
        _ => NameRule::Subdomain,
    }
}
