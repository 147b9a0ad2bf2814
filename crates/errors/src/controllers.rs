//! Controllers: codes PLS0300 to PLS0399.

use crate::{Code, Entry};

pub const LOSS_WITHHELD: Code = Code(300);
pub const FENCE_AHEAD: Code = Code(301);
pub const PORTS_USED_UP: Code = Code(302);
pub const FAILOVER_WAITS: Code = Code(303);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: LOSS_WITHHELD,
        title: "half of the centers or more look lost at once, so nothing was moved",
        cause: "Controllers never move more than a minority of the centers within ten seconds: \
                when that many fall silent together, it is more likely that the observer is cut \
                off than that they are all gone.",
        remedy: "Check the network between the centers. If they are really lost, approve their \
                 failover (`polis failover list`, `polis failover approve NAME`); if not, nothing \
                 needs to be done: they are heard again as soon as the network is back.",
    },
    Entry {
        code: FENCE_AHEAD,
        title: "the fence of a shard stands at a newer epoch than the shard map",
        cause: "A fence is raised only after the shard map has taken the epoch, so the map must \
                have lost changes: it was restored from a backup, or edited by hand.",
        remedy: "Compare the shard map's status with the fences of the service \
                 (GET /internal/v1/shards) and write the higher epochs into the map's status.",
    },
    Entry {
        code: PORTS_USED_UP,
        title: "a unit has no free host port for another pod",
        cause: "Pods of a unit share the host's ports and get theirs from the range in the Unit's \
                spec.ports, which is used up.",
        remedy: "Widen spec.ports of the Unit, or ask for fewer replicas there.",
    },
    Entry {
        code: FAILOVER_WAITS,
        title: "centers look lost, and the policy does not let that move their shards by itself",
        cause: "FailoverPolicy/main wants a person's word for this evidence, the failover before \
                was too short a time ago, or half of the centers or more look lost at once.",
        remedy: "See what it would do with `polis failover list`. If the centers are really lost, \
                 `polis failover approve NAME`; if they answer again, it is withdrawn by itself.",
    },
];
