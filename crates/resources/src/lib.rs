//! The API's own types: what is written in a manifest, its defaults and its
//! validation. Pure; the server works on JSON and asks here what is valid,
//! clients of ours parse into these types.
//!
//! Kubernetes' own kinds (Pod, Node, …) are not restated here.

mod cafe_deployment;
mod center;
mod city;
mod failover;
mod failover_policy;
mod field;
mod kind;
mod meta;
mod shard_map;
mod shard_move;
mod unit;
mod unit_rental;

pub use cafe_deployment::{
    CafeDeployment, CafeDeploymentSpec, CafeDeploymentStatus, PodSetType, Topology, UnitReplicas,
    UnitStatus, UnitType,
};
pub use center::{Center, CenterPhase, CenterSpec, CenterStatus, Observation};
pub use city::{City, CitySpec, DrillPolicy};
pub use failover::{
    Evidence, Failover, FailoverLoad, FailoverPhase, FailoverSpec, FailoverStatus, FailoverStep,
};
pub use failover_policy::{
    FAILOVER_POLICY_NAME, FailoverPolicy, FailoverPolicySpec, PausedRule, Preference, Rule,
    SUSPECT_AFTER_MS,
};
pub use field::FieldError;
pub use kind::{Kind, Object, Scope};
pub use meta::Metadata;
pub use shard_map::{Home, ReturnPolicy, SHARD_MAP_NAME, ShardMapObject, ShardMapSpec};
pub use shard_move::{
    MoveEvent, MovePhase, MoveProgress, MoveState, ShardMove, ShardMoveSpec, ShardMoveStatus,
};
pub use unit::{Fence, PortRange, Service, Unit, UnitKind, UnitSpec, UnitState};
pub use unit_rental::{
    RENTAL_FINALIZER, RENTAL_LABEL, RentalCondition, RentalEvent, RentalPhase, RentedPlace,
    RentedShare, UnitRental, UnitRentalSpec, UnitRentalStatus,
};
