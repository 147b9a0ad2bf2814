//! The objects of a fresh estate: cities, centers, units, the shard map and
//! the ledger in every unit. What exists already is left as it is.

use std::collections::BTreeMap;

use anyhow::Context;
use client::{
    Client,
    k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta},
};
use resources::{
    CafeDeployment, CafeDeploymentSpec, Center, CenterSpec, City, CitySpec, DrillPolicy, Fence,
    Home, Metadata, PodSetType, ReturnPolicy, SHARD_MAP_NAME, Service, ShardMapObject,
    ShardMapSpec, Topology, Unit, UnitKind, UnitReplicas, UnitSpec, UnitType,
};
use serde_json::json;

use super::clock::{self, Library};
use crate::{data::DataDir, layout::Layout, role::store::database::Database};

/// Where the ledger runs.
const LEDGER_NAMESPACE: &str = "payments";
const LEDGER: &str = "ledger";

/// Creates what is missing.
pub async fn objects(
    client: &Client,
    layout: &Layout,
    data: &DataDir,
    database: &Database,
    nodes: &[String],
    clocks: Option<&Library>,
) -> anyhow::Result<()> {
    let federation = client.federation();
    for name in layout.cities() {
        let city =
            City::new(Metadata::named(name.to_string()), CitySpec { drills: DrillPolicy::Allowed });
        federation.all::<City>().create_if_absent(&city).await.context("create city")?;
    }
    for plan in &layout.centers {
        let spec = CenterSpec {
            city: plan.city.clone(),
            api_address: plan.api().to_string(),
            edge_address: plan.edge().to_string(),
            edge_admin_address: Some(plan.edge_admin().to_string()),
        };
        let center = Center::new(Metadata::named(plan.center.to_string()), spec);
        let centers = federation.all::<Center>();
        let present = centers.create_if_absent(&center).await.context("create center")?;
        if present.spec != center.spec {
            // It moved to other ports: probes and failover follow these addresses.
            let patch = json!({ "spec": center.spec });
            centers.patch(center.name(), &patch).await.context("bring center up to date")?;
        }
        let service = Service {
            name: LEDGER.into(),
            namespace: LEDGER_NAMESPACE.into(),
            fence: Fence::Database,
        };
        let spec = UnitSpec {
            kind: UnitKind::RZone,
            center: plan.center.clone(),
            standbys: plan.standbys.clone(),
            ports: plan.pod_ports,
            shards_max: None,
            services: vec![service],
        };
        let unit = Unit::new(Metadata::named(plan.unit.to_string()), spec);
        let units = federation.all::<Unit>();
        let present = units.create_if_absent(&unit).await.context("create unit")?;
        if present.spec.ports != unit.spec.ports {
            let patch = json!({ "spec": { "ports": unit.spec.ports } });
            units.patch(unit.name(), &patch).await.context("bring unit up to date")?;
        }
    }
    let homes = layout
        .centers
        .iter()
        .filter(|plan| !plan.shards.is_empty())
        .map(|plan| Home { shards: plan.shards.clone(), unit: plan.unit.clone() })
        .collect();
    let spec = ShardMapSpec { homes, return_policy: ReturnPolicy::default() };
    let map = ShardMapObject::new(Metadata::named(SHARD_MAP_NAME), spec);
    federation.all::<ShardMapObject>().create_if_absent(&map).await.context("create shard map")?;
    deploy_ledger(client, layout, data, database, nodes, clocks).await
}

/// One ledger in every unit that serves shards.
async fn deploy_ledger(
    client: &Client,
    layout: &Layout,
    data: &DataDir,
    database: &Database,
    nodes: &[String],
    clocks: Option<&Library>,
) -> anyhow::Result<()> {
    let federation = client.federation();
    let metadata = ObjectMeta { name: Some(LEDGER_NAMESPACE.into()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    federation.all().create_if_absent(&namespace).await.context("create namespace")?;
    let exe = std::env::current_exe().context("find our own binary")?;
    let unit_replicas: BTreeMap<_, _> = layout
        .centers
        .iter()
        .filter(|plan| !plan.shards.is_empty())
        .map(|plan| (plan.unit.clone(), UnitReplicas::Count(1)))
        .collect();
    let identity = data.pki().join("units").join("$(POLIS_UNIT)");
    let mut args = vec![
        "--unit=$(POLIS_UNIT)".to_owned(),
        "--listen=$(POLIS_IP):$(POLIS_PORT)".to_owned(),
        format!("--identity-dir={}", identity.display()),
    ];
    match &database.database {
        Some(url) => args.push(format!("--database={url}")),
        None => args.push(format!("--store=https://{}", layout.store())),
    }
    args.extend(nodes.iter().map(|node| format!("--database-node={node}")));
    // Pods inherit no environment of ours, so the password must be in a file.
    let password = database.saved_password(&data.pki())?;
    args.extend(password.map(|file| format!("--database-password-file={}", file.display())));
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let mut env = vec![field("POLIS_IP", "status.podIP")];
    if let Some(clocks) = clocks {
        // A node is called as its center is.
        env.push(field("POLIS_CENTER", "spec.nodeName"));
        let envs = clocks.envs(&clock::of_ledgers("$(POLIS_CENTER)")).into_iter();
        env.extend(envs.map(|(name, value)| json!({ "name": name, "value": value })));
    }
    let template = json!({
        "metadata": { "labels": { "app": LEDGER } },
        "spec": {
            "runtimeClassName": "package",
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": LEDGER,
                "image": "package",
                "command": [exe, "ledger"],
                "args": args,
                "env": env,
                "ports": [{ "name": "https", "containerPort": 0 }],
                "readinessProbe": {
                    "httpGet": { "path": "/readyz", "port": "https", "scheme": "HTTPS" },
                    "periodSeconds": 5,
                    "timeoutSeconds": 2,
                },
                // A pause of five seconds is none of these; what hangs for longer
                // is ended, and started again.
                "livenessProbe": {
                    "httpGet": { "path": "/livez", "port": "https", "scheme": "HTTPS" },
                    "initialDelaySeconds": 20,
                    "periodSeconds": 1,
                    "timeoutSeconds": 3,
                    "failureThreshold": 3,
                    "terminationGracePeriodSeconds": 1,
                },
            }],
        },
    });
    let spec = CafeDeploymentSpec {
        pod_set_type: PodSetType::InPlaceSet,
        topology: Topology {
            unit_type: UnitType::Cell,
            unit_replicas,
            auto_reschedule: None,
            values: None,
        },
        template,
        replicas: None,
        selector: None,
        strategy: None,
        history_limit: None,
        volume_claim_templates: None,
        service_name: None,
    };
    let ledger = CafeDeployment::new(Metadata::namespaced(LEDGER_NAMESPACE, LEDGER), spec);
    let ledgers = federation.namespaced::<CafeDeployment>(LEDGER_NAMESPACE);
    let present = ledgers.create_if_absent(&ledger).await.context("deploy the ledger")?;
    if present.spec.template != ledger.spec.template {
        // The binary, the store's port or the data folder may have moved.
        let patch = json!({ "spec": { "template": ledger.spec.template } });
        ledgers.patch(LEDGER, &patch).await.context("bring the ledger up to date")?;
    }
    Ok(())
}
