//! Committing plans to the shard map: compare-and-swap on the object that was
//! read, and a new plan from a new read when somebody was faster.

use std::{collections::BTreeMap, sync::Arc};

use client::{Door, Objects};
use planner::shard_map::Plan;
use resources::{SHARD_MAP_NAME, ShardMapObject};
use topology::{Shard, UnitName};

use crate::{Metrics, picture::Picture};

/// Every center may propose at the same moment, and each round one of them
/// succeeds; beyond this the next change wakes us again.
const ROUNDS_MAX: usize = 8;

#[derive(Clone)]
pub struct Maps {
    objects: Objects<ShardMapObject>,
    picture: Picture,
    metrics: Arc<Metrics>,
}

// === impl Maps ===

impl Maps {
    pub fn new(federation: &Door, picture: &Picture, metrics: Arc<Metrics>) -> Maps {
        Maps { objects: federation.all(), picture: picture.clone(), metrics }
    }

    /// Commits what `plan` makes of the map. None when it makes nothing of it.
    pub async fn commit(
        &self,
        plan: impl Fn(&ShardMapObject) -> Option<Plan>,
    ) -> Result<Option<Plan>, client::Error> {
        let Some(map) = self.picture.map() else { return Ok(None) };
        let mut map = ShardMapObject::clone(&map);
        for _ in 0..ROUNDS_MAX {
            let Some(plan) = plan(&map) else { return Ok(None) };
            map.status = plan.map.clone();
            match self.objects.update_status(&map).await {
                Ok(_) => {
                    self.metrics.map_version.set(plan.map.version.0);
                    return Ok(Some(plan));
                }
                Err(error) if error.is_conflict() => {
                    self.metrics.map_conflicts.add(1);
                    map = self.read().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Commits a plan that was made of exactly this map. False when the map has
    /// changed since.
    pub async fn commit_on(
        &self,
        map: &ShardMapObject,
        plan: &Plan,
    ) -> Result<bool, client::Error> {
        let next = ShardMapObject { status: plan.map.clone(), ..map.clone() };
        match self.objects.update_status(&next).await {
            Ok(_) => {
                self.metrics.map_version.set(plan.map.version.0);
                Ok(true)
            }
            Err(error) if error.is_conflict() => {
                self.metrics.map_conflicts.add(1);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes these units the homes of these shards.
    pub async fn rehome(
        &self,
        homes: &BTreeMap<UnitName, Vec<Shard>>,
    ) -> Result<(), client::Error> {
        let mut round = 1;
        loop {
            let mut map = self.read().await?;
            let mut changes = false;
            for (unit, shards) in homes {
                changes |= map.spec.rehome(&shards.iter().copied().collect(), unit);
            }
            if !changes {
                return Ok(());
            }
            match self.objects.update(&map).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() && round < ROUNDS_MAX => round += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The map as it is now, past any cache.
    pub async fn read(&self) -> Result<ShardMapObject, client::Error> {
        self.objects.get(SHARD_MAP_NAME).await
    }
}
