//! The API server: codes PLS0200 to PLS0299.

use crate::{Code, Entry};

pub const API_STORE_UNAVAILABLE: Code = Code(200);
pub const API_OUTCOME_UNKNOWN: Code = Code(201);
pub const API_OBJECT_UNREADABLE: Code = Code(202);
pub const API_LISTEN: Code = Code(203);
pub const API_AGENT_UNREACHABLE: Code = Code(204);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: API_STORE_UNAVAILABLE,
        title: "the API server cannot use its store",
        cause: "The store cannot be reached, has no leader or has no space. Nothing was changed.",
        remedy: "Look at /readyz of this API server and at the store's own health, then try again.",
    },
    Entry {
        code: API_OUTCOME_UNKNOWN,
        title: "it is not known whether the write happened",
        cause: "The answer of the store to a write was lost.",
        remedy: "Read the object again and decide from what is there.",
    },
    Entry {
        code: API_OBJECT_UNREADABLE,
        title: "a stored object is not one",
        cause: "A key below /registry holds something that is not a JSON object: it was written \
                past the API server, was sealed with a key that --encryption-provider-config does \
                not name, or the store is damaged.",
        remedy: "Name the key that sealed it, if the log says it cannot be opened; otherwise read \
                 it with etcdctl in the keyspace named by the path, and repair or delete it there.",
    },
    Entry {
        code: API_LISTEN,
        title: "the API server cannot listen on its address",
        cause: "The address is taken by another process, or is not one of this machine.",
        remedy: "Free the port, or choose another one.",
    },
    Entry {
        code: API_AGENT_UNREACHABLE,
        title: "the agent that runs the pod does not answer",
        cause: "Logs are read from the agent of the pod's node at the time they are asked for.",
        remedy: "Look at the Node object's conditions and at the agent's own log.",
    },
];
