//! The command line, configuration and `polis up`: codes PLS0001 to PLS0099.

use crate::{Code, Entry};

pub const DATA_IN_USE: Code = Code(1);
pub const DATA_UNWRITABLE: Code = Code(2);
pub const NOT_RUNNING: Code = Code(3);
pub const PORT_TAKEN: Code = Code(4);
pub const LAYOUT_DIFFERS: Code = Code(5);
pub const CONFIG_INVALID: Code = Code(6);
pub const CHILD_ENDED: Code = Code(7);
pub const START_TIMEOUT: Code = Code(8);
pub const BASE_PORT_INVALID: Code = Code(9);
pub const CODE_UNKNOWN: Code = Code(10);
pub const STORE_DIFFERS: Code = Code(11);
pub const NETWORK_UNAVAILABLE: Code = Code(12);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: DATA_IN_USE,
        title: "the data folder is in use by another process",
        cause: "Two processes on one data folder would corrupt it, so the first one holds a lock.",
        remedy: "Stop the other process, or give this one its own folder with --data.",
    },
    Entry {
        code: DATA_UNWRITABLE,
        title: "the data folder cannot be written",
        cause: "The folder, or the one it would be created in, does not let this user write.",
        remedy: "Choose a folder that you may write with --data, or change its owner or mode.",
    },
    Entry {
        code: NOT_RUNNING,
        title: "nothing runs from this data folder",
        cause: "The verb talks to an estate started by `polis up`, and found none.",
        remedy: "Start one with `polis up`, or name the folder of a running one with --data.",
    },
    Entry {
        code: PORT_TAKEN,
        title: "a port is taken",
        cause: "Another program, perhaps another `polis up`, listens on a port of this layout.",
        remedy: "Stop that program, or move this estate with --base-port.",
    },
    Entry {
        code: LAYOUT_DIFFERS,
        title: "the data folder belongs to another layout",
        cause: "Units and shards of the layout are recorded in the data; another layout would \
                orphan some of them.",
        remedy: "Start with the layout it was made with, or use a new folder with --data.",
    },
    Entry {
        code: STORE_DIFFERS,
        title: "the data folder belongs to another store",
        cause: "What an estate keeps is in its store, in the data folder or in one database; \
                another store knows nothing of it.",
        remedy: "Start with the --database it was made with, or without one if there was none; \
                 or use a new folder with --data.",
    },
    Entry {
        code: CONFIG_INVALID,
        title: "a configuration file is not valid",
        cause: "The file has a key that is not known, lacks one, or gives one a value it cannot \
                have.",
        remedy: "Mend the line that the message names; `polis config default ROLE` prints a \
                 valid file.",
    },
    Entry {
        code: CHILD_ENDED,
        title: "a process of the estate ended while starting",
        cause: "It met an error that its own log tells.",
        remedy: "Read the log that the message names, mend the cause, and start again.",
    },
    Entry {
        code: START_TIMEOUT,
        title: "the estate did not become ready in time",
        cause: "A part is slow or stuck; the message says which one was waited for.",
        remedy: "Read the logs in DATA/logs; on a slow machine give more time with \
                 --start-timeout.",
    },
    Entry {
        code: BASE_PORT_INVALID,
        title: "the base port leaves no room for the ports above it",
        cause: "A layout takes ports from the base port up to 260 above it.",
        remedy: "Choose a base port between 1024 and 65275.",
    },
    Entry {
        code: CODE_UNKNOWN,
        title: "no such error code",
        cause: "`polis explain` knows the codes of this release.",
        remedy: "Run `polis explain --list` to see them all.",
    },
    Entry {
        code: NETWORK_UNAVAILABLE,
        title: "centers cannot have networks of their own here",
        cause: "`--network namespaces` makes network namespaces, links and a bridge, which needs \
                root and the programs `ip` and `nft`.",
        remedy: "Run as root, install iproute2 and nftables, or start without --network.",
    },
];
