//! The words of the place: cities, centers, units, users, buckets, shards.
//!
//! Pure values and their text forms. [`ShardMap`] is the single source of
//! routing truth as everyone reads it; how it may change is `planner`'s.
//! What this crate must never know: I/O, Kubernetes, who uses it.

mod bucket;
mod layout;
mod name;
mod shard_map;
mod shard_set;
mod stamp;
mod user;

pub use bucket::{
    BUCKETS, Bucket, BucketRange, BucketRangeError, DEFAULT_SHARDS, Extent, SHARDS_MAX, Shard,
};
pub use layout::{Layout, LayoutError, SplitError};
pub use name::{CenterName, CityName, NameError, UnitName};
pub use shard_map::{Assignment, Epoch, MapVersion, ShardMap, ShardMapError, ShardState};
pub use shard_set::{ShardSet, ShardSetError};
pub use stamp::{HOPS_MAX, STAMP_HEADER, Stamp, StampError};
pub use user::{UserId, UserIdError};
