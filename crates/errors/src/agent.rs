//! The agent and its runtimes: codes PLS0600 to PLS0699.

use crate::{Code, Entry};

pub const AGENT_DATA_IN_USE: Code = Code(600);
pub const AGENT_DATA_UNUSABLE: Code = Code(601);
pub const AGENT_LISTEN: Code = Code(602);
pub const AGENT_POD_REFUSED: Code = Code(603);
pub const AGENT_FORBIDDEN: Code = Code(604);
pub const AGENT_NOT_FOUND: Code = Code(605);
pub const AGENT_BAD_REQUEST: Code = Code(606);
pub const AGENT_TOO_MANY_STREAMS: Code = Code(607);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: AGENT_DATA_IN_USE,
        title: "another agent uses the same data folder",
        cause: "An agent keeps the records of its pods in its data folder and holds a lock on it. \
                Two agents there would each start and stop the other's pods.",
        remedy: "Stop the other agent, or give this one a folder of its own.",
    },
    Entry {
        code: AGENT_DATA_UNUSABLE,
        title: "the agent's data folder cannot be used",
        cause: "The folder cannot be created, read or written by the user that runs the agent, or \
                its disk is full.",
        remedy: "Check the folder's owner, its permissions and the free space, then start again.",
    },
    Entry {
        code: AGENT_LISTEN,
        title: "the agent's address cannot be listened on",
        cause: "Another process has the port, or the address is not one of this host.",
        remedy: "Find the holder with `ss -ltnp`, or configure another address.",
    },
    Entry {
        code: AGENT_POD_REFUSED,
        title: "a pod asks for what this node cannot do",
        cause: "The pod names a runtime class, a volume, a probe or another field that packages \
                do not have. It is refused rather than run without it.",
        remedy: "Read the message in the pod's status, change the template, and delete the pod.",
    },
    Entry {
        code: AGENT_FORBIDDEN,
        title: "the agent answers its API server only",
        cause: "Logs and pods are read through the API, which checks who asks. The caller showed \
                no certificate, or one of another service.",
        remedy: "Use `kubectl logs` against the API.",
    },
    Entry {
        code: AGENT_NOT_FOUND,
        title: "no such pod or container on this node",
        cause: "The pod was deleted, runs on another node, or its container has not started yet.",
        remedy: "Look at `kubectl get pods -o wide` and try again.",
    },
    Entry {
        code: AGENT_BAD_REQUEST,
        title: "a query parameter of a log request is wrong",
        cause: "Numbers must be whole and not negative; switches are true or false.",
        remedy: "Correct the parameter that the message names.",
    },
    Entry {
        code: AGENT_TOO_MANY_STREAMS,
        title: "too many logs are being followed on this node",
        cause: "Each follower holds memory and a file; their number is bounded.",
        remedy: "End some of the followers and try again.",
    },
];
