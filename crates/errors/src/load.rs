//! Load and drills: codes PLS0700 to PLS0799.

use crate::{Code, Entry};

pub const LOAD_ACCOUNT: Code = Code(700);
pub const DRILL_FORBIDDEN: Code = Code(701);
pub const DRILL_TARGET: Code = Code(702);
pub const DRILL_NOT_READY: Code = Code(703);
pub const DRILL_NOT_HEALED: Code = Code(704);
pub const DRILL_NETWORK: Code = Code(705);
pub const DRILL_ABORTED: Code = Code(706);
pub const DRILL_UNCONFIRMED: Code = Code(707);
pub const DRILL_REPORT: Code = Code(708);
pub const DRILL_PLAN: Code = Code(709);
pub const DRILL_DISK: Code = Code(710);
pub const DRILL_CLOCKS: Code = Code(711);
pub const DRILL_VERB: Code = Code(712);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: LOAD_ACCOUNT,
        title: "an account for the load could not be opened",
        cause: "The load pays from marked accounts of its own; an edge refused to open one, or \
                none answered.",
        remedy: "See what `polis status` says; if an account of that number belongs to somebody \
                 else, use fewer --users.",
    },
    Entry {
        code: DRILL_FORBIDDEN,
        title: "the city does not allow drills",
        cause: "Drills cut real traffic, so they are off unless the City object says otherwise.",
        remedy: "Set spec.drills to Allowed on the city (kubectl edit city NAME), if you may.",
    },
    Entry {
        code: DRILL_TARGET,
        title: "no such city, center or process",
        cause: "The drill names something that this estate does not have.",
        remedy: "See `polis status` for the names of cities and centers; a process is `store` or CENTER/PROGRAM.",
    },
    Entry {
        code: DRILL_NOT_READY,
        title: "the estate is not well, so a drill would prove nothing",
        cause: "A center is lost or a shard is not at home before the fault was injected.",
        remedy: "Wait until `polis status` shows no alarms, or start what is down.",
    },
    Entry {
        code: DRILL_NOT_HEALED,
        title: "the estate did not heal after the drill",
        cause: "A center did not come back, or its shards did not come home in time.",
        remedy: "Look at `polis status` and the logs of the center that is not Ready.",
    },
    Entry {
        code: DRILL_NETWORK,
        title: "there is no line to cut",
        cause: "Silence, cuts and loss happen on the lines between centers, and these centers \
                share one network.",
        remedy: "Start the estate with `polis up --network namespaces`, as root.",
    },
    Entry {
        code: DRILL_ABORTED,
        title: "the drill was stopped by its abort condition",
        cause: "Recovery took longer than the drill allows, so the fault was healed at once.",
        remedy: "Read the report for what did not recover; allow more with --abort-after if the \
                 bound was too tight.",
    },
    Entry {
        code: DRILL_UNCONFIRMED,
        title: "the drill was not confirmed",
        cause: "A drill cuts real traffic, so what it hits is typed twice.",
        remedy: "Type the name when asked, or give --yes where nobody can be asked.",
    },
    Entry {
        code: DRILL_REPORT,
        title: "a drill's report does not check out",
        cause: "A file of the report is not the one that was written when the drill ended, or its \
                figures do not follow from its history.",
        remedy: "Trust the raw history only from a copy that checks out; the message names the \
                 first thing that differs.",
    },
    Entry {
        code: DRILL_PLAN,
        title: "a plan of drills is not valid",
        cause: "The file has a key that is not known, lacks one, or names what this estate does \
                not have.",
        remedy: "The message names the place; `polis drill run PLAN --dry-run` checks without \
                 doing anything.",
    },
    Entry {
        code: DRILL_DISK,
        title: "the disk cannot be made slow or full",
        cause: "Writes are slowed by the kernel (cgroup v1, the blkio controller), for which \
                `polis up` must be root and the data folder on a disk; room is taken only from a \
                folder that is a file system of its own.",
        remedy: "Start `polis up` as root; before it, mount a small file system where the folder \
                 will be: mount -t tmpfs -o size=512m tmpfs DATA/store.",
    },
    Entry {
        code: DRILL_CLOCKS,
        title: "there is no clock to set wrong",
        cause: "Centers that share a machine share its wall clock, unless a library stands \
                between.",
        remedy: "Start the estate with `polis up --clock-library FILE`; FILE is libfaketime's.",
    },
    Entry {
        code: DRILL_VERB,
        title: "this caller may not carry out drills",
        cause: "A drill hurts whoever uses the city, so it needs the verb `drill` on it, which \
                reading and writing objects does not include.",
        remedy: "Ask with a certificate of the group polis:drillers, or of system:masters; \
                 `kubectl auth can-i drill cities.polis.dev` says who may.",
    },
];
