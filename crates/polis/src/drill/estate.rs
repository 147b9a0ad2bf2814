//! What a drill asks of the estate: may it, is it well, what is being hit.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use client::{
    Client, Entity,
    k8s_openapi::api::{
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
        coordination::v1::Lease,
    },
};
use resources::{
    CafeDeployment, Center, CenterPhase, City, DrillPolicy, SHARD_MAP_NAME, ShardMapObject,
};
use tokio::time::{Instant, timeout_at};
use topology::ShardState;

use super::{
    order::{Scope, Spec},
    timeline::Hit,
};
use crate::{
    layout::{CenterPlan, Layout},
    pki::SYSTEM_NAMESPACE,
    up::{
        control::ProcessInfo,
        fault::{Fault, Part},
    },
};

/// Every city that would be hit allows drills, and to us.
pub async fn check_allowed(client: &Client, hit: &[CenterPlan]) -> anyhow::Result<()> {
    for plan in hit {
        check_verb(client, plan.city.as_str()).await?;
        let city = client
            .federation()
            .all::<City>()
            .get(plan.city.as_str())
            .await
            .with_context(|| format!("read city {}", plan.city))?;
        if city.spec.drills != DrillPolicy::Allowed {
            let code = errors::DRILL_FORBIDDEN;
            bail!("{code}: city {} forbids drills. {}", plan.city, code.remedy());
        }
    }
    Ok(())
}

async fn check_verb(client: &Client, city: &str) -> anyhow::Result<()> {
    let attributes = ResourceAttributes {
        verb: Some("drill".to_owned()),
        group: Some(<City as Entity>::GROUP.to_owned()),
        resource: Some(<City as Entity>::PLURAL.to_owned()),
        name: Some(city.to_owned()),
        ..ResourceAttributes::default()
    };
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = client.federation().all::<SelfSubjectAccessReview>();
    let answer = reviews.create(&question).await.context("ask whether we may")?;
    if answer.status.is_none_or(|status| !status.allowed) {
        let code = errors::DRILL_VERB;
        bail!("{code}: no drill on city {city} for us. {}", code.remedy());
    }
    Ok(())
}

/// Whether every single process that is to be hit is there.
pub fn check_here(fault: &Fault, processes: &[ProcessInfo]) -> anyhow::Result<()> {
    for part in fault.parts().map(|part| part.to_string()) {
        if processes.iter().all(|process| process.name != part) {
            let code = errors::DRILL_TARGET;
            let alone = processes.iter().filter(|process| Part::of(&process.name).is_some());
            let here: Vec<_> = alone.map(|process| process.name.as_str()).collect();
            bail!("{code}: no process {part} runs here, there are {}", here.join(", "));
        }
    }
    Ok(())
}

/// The fault as it is now: who leads is found out just before it is hit.
pub async fn concrete(client: &Client, spec: &Spec) -> anyhow::Result<Spec> {
    if spec.scope != Scope::Leader {
        return Ok(spec.clone());
    }
    let leases = client.federation().namespaced::<Lease>(SYSTEM_NAMESPACE);
    let lease = leases.find(&spec.name).await.context("read the lease")?;
    let holder = lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
    let Some(holder) = holder.filter(|holder| !holder.is_empty()) else {
        let code = errors::DRILL_TARGET;
        bail!("{code}: nobody leads {}. {}", spec.name, code.remedy());
    };
    Ok(spec.led_by(&holder))
}

/// Which buckets each shard has.
pub async fn layout(client: &Client) -> anyhow::Result<topology::Layout> {
    let maps = client.federation().all::<ShardMapObject>();
    let map = maps.get(SHARD_MAP_NAME).await.context("read the shard map")?;
    Ok(map.status.layout)
}

/// What is at stake if these centers are hit now; everything if `all` wait.
pub async fn hit(client: &Client, centers: &[CenterPlan], all: bool) -> anyhow::Result<Hit> {
    let map = client
        .federation()
        .all::<ShardMapObject>()
        .get(SHARD_MAP_NAME)
        .await
        .context("read the shard map")?;
    let units: Vec<_> = centers.iter().map(|plan| plan.unit.clone()).collect();
    Ok(Hit {
        centers: centers.iter().map(|plan| plan.center.clone()).collect(),
        shards: match all {
            true => map.status.assignments.keys().copied().collect(),
            false => units.iter().flat_map(|unit| map.status.of_unit(unit)).collect(),
        },
        units,
    })
}

/// Waits until the centers are Ready.
pub async fn centers_ready(
    client: &Client,
    centers: &[CenterPlan],
    limit: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    let mut cache = client.federation().watch::<Center>(client::Scope::everything());
    let wait = async {
        let mut now = cache.synced().await;
        let ready = |name: &str, center: &Arc<Center>| {
            center.name() == name && center.status.phase == CenterPhase::Ready
        };
        while !centers
            .iter()
            .all(|plan| now.iter().any(|center| ready(plan.center.as_str(), center)))
        {
            now = cache.changed().await;
        }
    };
    match timeout_at(deadline, wait).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let (code, seconds) = (errors::DRILL_NOT_HEALED, limit.as_secs());
            bail!("{code}: centers are not Ready after {seconds} s. {}", code.remedy())
        }
    }
}

/// Waits until every center is Ready, every shard is served at home, and every
/// ledger is ready.
pub async fn well(client: &Client, layout: &Layout, limit: Duration) -> anyhow::Result<()> {
    centers_ready(client, &layout.centers, limit).await?;
    let deadline = Instant::now() + limit;
    let mut maps = client.federation().watch::<ShardMapObject>(client::Scope::everything());
    let mut releases = client.federation().watch::<CafeDeployment>(client::Scope::everything());
    let wait = async {
        let mut map = maps.synced().await;
        while !map.iter().any(|map| home(map)) {
            map = maps.changed().await;
        }
        let ready = |release: &Arc<CafeDeployment>| {
            release.status.replicas > 0 && release.status.ready_replicas == release.status.replicas
        };
        let mut now = releases.synced().await;
        while !now.iter().all(ready) {
            now = releases.changed().await;
        }
    };
    match timeout_at(deadline, wait).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let (code, seconds) = (errors::DRILL_NOT_READY, limit.as_secs());
            bail!("{code}: shards are away or ledgers down after {seconds} s. {}", code.remedy())
        }
    }
}

fn home(map: &ShardMapObject) -> bool {
    map.status.layout.shards().all(|shard| {
        let state = map.status.get(shard).map(|assignment| &assignment.state);
        matches!(state, Some(ShardState::Serving { unit }) if map.spec.home_of(shard) == Some(unit))
    })
}
