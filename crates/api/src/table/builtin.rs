//! Which columns a built-in kind has.

use schema::builtin::Kind;

use super::{AGE, Column, NAME, control, core, event, network, pod, storage, workloads};

/// Kinds that are not named here show their name and age.
pub fn columns(kind: &Kind) -> &'static [Column] {
    match kind.kind {
        "Pod" => pod::POD,
        "Node" => core::NODE,
        "Namespace" => core::NAMESPACE,
        "ConfigMap" => core::CONFIG_MAP,
        "Event" if kind.group.is_empty() => event::EVENT,
        "Event" => event::EVENTS_EVENT,
        "Lease" => core::LEASE,

        "Deployment" => workloads::DEPLOYMENT,
        "StatefulSet" => workloads::STATEFUL_SET,
        "ReplicaSet" => workloads::REPLICA_SET,
        "ReplicationController" => workloads::REPLICATION_CONTROLLER,
        "DaemonSet" => workloads::DAEMON_SET,
        "Job" => workloads::JOB,
        "CronJob" => workloads::CRON_JOB,
        "ControllerRevision" => workloads::CONTROLLER_REVISION,
        "PodTemplate" => workloads::POD_TEMPLATE,
        "HorizontalPodAutoscaler" => workloads::AUTOSCALER,
        "PodDisruptionBudget" => workloads::DISRUPTION_BUDGET,

        "Service" => network::SERVICE,
        "Endpoints" => network::ENDPOINTS,
        "EndpointSlice" => network::ENDPOINT_SLICE,
        "Ingress" => network::INGRESS,
        "IngressClass" => network::INGRESS_CLASS,
        "NetworkPolicy" => network::NETWORK_POLICY,
        "IPAddress" => network::IP_ADDRESS,
        "ServiceCIDR" => network::SERVICE_CIDR,

        "PersistentVolume" => storage::PERSISTENT_VOLUME,
        "PersistentVolumeClaim" => storage::CLAIM,
        "StorageClass" => storage::STORAGE_CLASS,
        "VolumeAttributesClass" => storage::ATTRIBUTES_CLASS,
        "VolumeAttachment" => storage::ATTACHMENT,
        "CSIDriver" => storage::CSI_DRIVER,
        "CSINode" => storage::CSI_NODE,
        "CSIStorageCapacity" => storage::CSI_CAPACITY,

        "RoleBinding" | "ClusterRoleBinding" => control::BINDING,
        "Role" | "ClusterRole" | "LimitRange" => control::NAMED,
        "CustomResourceDefinition" => control::DEFINITION,
        "CertificateSigningRequest" => control::SIGNING_REQUEST,
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => control::WEBHOOKS,
        "ValidatingAdmissionPolicy" => control::VALIDATING_POLICY,
        "MutatingAdmissionPolicy" => control::MUTATING_POLICY,
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            control::POLICY_BINDING
        }
        "FlowSchema" => control::FLOW_SCHEMA,
        "PriorityLevelConfiguration" => control::PRIORITY_LEVEL,
        "PriorityClass" => control::PRIORITY_CLASS,
        "RuntimeClass" => control::RUNTIME_CLASS,
        "Secret" => control::SECRET,
        "ResourceQuota" => control::QUOTA,
        "ComponentStatus" => control::COMPONENT_STATUS,
        "APIService" => control::API_SERVICE,
        "ResourceClaim" => control::RESOURCE_CLAIM,
        "ResourceSlice" => control::RESOURCE_SLICE,
        _ => &[NAME, AGE],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{object, table::Row};

    #[test]
    fn every_cell_can_do_without_the_field_it_shows() {
        for kind in schema::builtin::kinds() {
            let columns = columns(kind);
            assert!(columns.iter().any(|column| column.name == "Name"), "{}", kind.kind);
            for empty in [json!({}), json!({"metadata": {}, "spec": {}, "status": {}})] {
                let row = Row { object: &empty, now: object::now() };
                for column in columns {
                    let cell = (column.cell)(&row);
                    assert!(!cell.is_object() && !cell.is_array(), "{}", column.name);
                }
            }
        }
    }

    #[test]
    fn objects_are_shown_as_kubectl_shows_them() {
        let check = |group: &str, kind: &str, object: serde_json::Value, expected: &[&str]| {
            let kind = schema::builtin::kind(group, "v1", kind).expect("a built-in kind");
            let row = Row { object: &object, now: object::now() };
            let cells: Vec<String> = columns(kind)
                .iter()
                .filter(|column| column.name != "Age")
                .map(|column| match (column.cell)(&row) {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                })
                .collect();
            assert_eq!(cells, expected);
        };
        let template = json!({"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]}});
        let object = json!({
            "metadata": {"name": "till"},
            "spec": {"replicas": 3, "template": template, "selector": {
                "matchLabels": {"app": "till"},
                "matchExpressions": [{"key": "env", "operator": "In", "values": ["b", "a"]}],
            }},
            "status": {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
        });
        let expected = ["till", "2/3", "1", "2", "a,b", "a:1,b:2", "app=till,env in (a,b)"];
        check("apps", "Deployment", object, &expected);
        let object = json!({
            "metadata": {"name": "till"},
            "spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [
                {"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"},
            ]},
        });
        let expected = ["till", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "<none>"];
        check("", "Service", object, &expected);
        let object = json!({
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "suspend": false, "jobTemplate": {"spec": {"template": template}}},
        });
        let expected =
            ["nightly", "0 3 * * *", "<none>", "False", "0", "<none>", "a,b", "a:1,b:2", "<none>"];
        check("batch", "CronJob", object, &expected);
        let object = json!({
            "metadata": {"name": "quota"},
            "status": {"hard": {"pods": "4", "limits.cpu": "2"}, "used": {"pods": "1"}},
        });
        check("", "ResourceQuota", object, &["quota", "pods: 1/4", "limits.cpu: 0/2"]);
    }
}
