//! The store: codes PLS0100 to PLS0199.

use crate::{Code, Entry};

pub const STORE_NOT_SECURED: Code = Code(100);
pub const STORE_ADDRESS: Code = Code(101);
pub const STORE_DATA_FOLDER: Code = Code(102);
pub const STORE_FULL: Code = Code(103);
pub const STORE_DATA_LOCKED: Code = Code(110);
pub const STORE_DATA_UNREADABLE: Code = Code(111);
pub const STORE_DATA_CORRUPT: Code = Code(112);
pub const STORE_DATA_NEWER: Code = Code(113);
pub const STORE_COPY_DIFFERS: Code = Code(114);
pub const STORE_LOG_SHORT: Code = Code(115);
pub const DATABASE_URL: Code = Code(120);
pub const DATABASE_UNREACHABLE: Code = Code(121);
pub const DATABASE_ACCESS: Code = Code(122);
pub const DATABASE_NEWER: Code = Code(123);
pub const DATABASE_PACKET: Code = Code(124);
pub const DATABASE_UNFIT: Code = Code(125);
pub const DATABASE_UNFINISHED: Code = Code(126);
pub const DATABASE_TAKEN: Code = Code(127);
pub const STORE_DATABASE_OLDER: Code = Code(130);
pub const STORE_DATABASE_OTHER: Code = Code(131);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: STORE_NOT_SECURED,
        title: "the store has no TLS configuration",
        cause: "The store holds everything, so it serves only clients that show a certificate, \
                unless it is told otherwise in so many words.",
        remedy: "Give it a certificate and a client CA, or say --insecure on a closed network.",
    },
    Entry {
        code: STORE_ADDRESS,
        title: "the store cannot listen on its address",
        cause: "Another process has the port, or the address is not one of this machine.",
        remedy: "Stop the other process, or choose another address with --listen-client-urls.",
    },
    Entry {
        code: STORE_DATA_FOLDER,
        title: "the store cannot use its data folder",
        cause: "The folder cannot be created, read or written by this user.",
        remedy: "Correct its owner and mode, or choose another folder.",
    },
    Entry {
        code: STORE_FULL,
        title: "the store holds as much as it may",
        cause: "The files of the store have grown beyond its quota. Puts are refused with etcd's \
                \"database space exceeded\"; reads, deletes and compactions go on.",
        remedy: "Delete what is not needed, compact and defragment, or raise the quota; then \
                 `etcdctl alarm disarm`.",
    },
    Entry {
        code: STORE_DATA_LOCKED,
        title: "the store's data is in use by another process",
        cause: "Two processes that write one log would destroy it, so the first holds a lock on \
                the folder for as long as it lives.",
        remedy: "Stop the other process, or give this one a folder of its own: --data-dir, with `polis \
                 up` --data.",
    },
    Entry {
        code: STORE_DATA_UNREADABLE,
        title: "the store's data cannot be opened",
        cause: "The disk reports an error, the folder's mode forbids it, or the files in it are \
                not those of a store.",
        remedy: "Read the cause in the message, check the disk and the folder, and start again.",
    },
    Entry {
        code: STORE_DATA_CORRUPT,
        title: "stored data fails its check",
        cause: "A record's checksum does not match its bytes, or records do not follow one \
                another. The keyspace is not served, since what it would say may be wrong.",
        remedy: "Check the disk and memory of this machine and restore the data from a backup.",
    },
    Entry {
        code: STORE_DATA_NEWER,
        title: "stored data was written by a newer release",
        cause: "A release reads what it and the release before it wrote, and refuses the rest \
                rather than guess.",
        remedy: "Start the release that wrote the data, or a newer one.",
    },
    Entry {
        code: STORE_COPY_DIFFERS,
        title: "what a store would say is not what its log or its leader says",
        cause: "The check for corruption found damage in the log, an index in memory that differs \
                from the log, or another hash than the leader's at the same revision. The alarm \
                CORRUPT names the member, and no replica says anything about keys until it is \
                disarmed.",
        remedy: "Stop the named replica: what is in its memory goes with it. For a store with a \
                 log of its own run `polis store verify` on its folder and restore a backup if it \
                 finds damage; for a database check its nodes against each other. Then `etcdctl \
                 alarm disarm`.",
    },
    Entry {
        code: STORE_LOG_SHORT,
        title: "the log ends before what clients have seen",
        cause: "While the store ran, its files or its database were put back to an earlier state, \
                or lost what they had confirmed. Served as it is, clients would be given revisions \
                again that they have seen with other contents, so nothing of the keyspace is \
                served.",
        remedy: "Bring the files or the database back as they were and start the store again. If \
                 what is missing is lost for good: on a database accept that with `polis store \
                 recover --accept-loss`, on local disk restore a backup.",
    },
    Entry {
        code: DATABASE_URL,
        title: "the database's URL cannot be used",
        cause: "It is not of the form mysql://USER@HOST:PORT[,HOST:PORT]/DATABASE?OPTION=VALUE, \
                names an option that is not known, or holds a password, which every user of the \
                machine could read in the list of processes.",
        remedy: "Correct the part that the message names; give the password with \
                 --database-password-file or in POLIS_DATABASE_PASSWORD.",
    },
    Entry {
        code: DATABASE_UNREACHABLE,
        title: "the database cannot be reached",
        cause: "No server of the list accepts connections, or those that do are read-only or \
                outside of their cluster's majority.",
        remedy: "Check the addresses, the network and the servers; the message tells what each \
                 of them answered.",
    },
    Entry {
        code: DATABASE_ACCESS,
        title: "the database refuses the user",
        cause: "The user or its password is wrong, the database does not exist, or the user may \
                not do what the store needs there.",
        remedy: "Create the database, and grant SELECT, INSERT, UPDATE, DELETE and CREATE on it \
                 to the user: docs/operate/databases.md has the statements.",
    },
    Entry {
        code: DATABASE_NEWER,
        title: "the tables were made by a newer release",
        cause: "A release reads the tables that it and the release before it made, and refuses \
                newer ones rather than guess.",
        remedy: "Start the release that made the tables, or a newer one.",
    },
    Entry {
        code: DATABASE_PACKET,
        title: "the database takes packets that are too small",
        cause: "A key's largest value must fit into one statement, and the server's \
                max_allowed_packet does not allow that.",
        remedy: "Set max_allowed_packet to 16777216 (16 MiB) or more on every server.",
    },
    Entry {
        code: DATABASE_UNFIT,
        title: "the database's tables cannot be used",
        cause: "They are not as the store makes them: another engine than InnoDB, which has \
                transactions, or columns that somebody changed.",
        remedy: "Use an empty database of its own for the store.",
    },
    Entry {
        code: DATABASE_UNFINISHED,
        title: "a restore into the database has not finished",
        cause: "A restore fills the tables in many transactions and marks them until the last. \
                It is still running, or was cut off; what it has brought so far is no whole \
                store, so nothing of it is served.",
        remedy: "Wait for it. If none is running any more, run the restore again with \
                 --start-over, which removes what it has left.",
    },
    Entry {
        code: DATABASE_TAKEN,
        title: "the database is in use",
        cause: "It holds keyspaces, or a store or another restore is running on it. A restore \
                makes a store of its own, and never changes one.",
        remedy: "Restore into an empty database, such as one just made with CREATE DATABASE; \
                 stop stores that run on it first.",
    },
    Entry {
        code: STORE_DATABASE_OLDER,
        title: "the database is older than what this replica has seen",
        cause: "A keyspace stands at an earlier batch, epoch or revision than a replica of the \
                store has seen it at: a backup was restored, or the database lost what it had \
                confirmed. Clients would be given revisions again that they have seen with other \
                contents, so nothing of the keyspace is served.",
        remedy: "Bring back the database as it was. If what is missing is lost for good, accept \
                 that with `polis store recover --accept-loss`.",
    },
    Entry {
        code: STORE_DATABASE_OTHER,
        title: "the database is not the one this replica belongs to",
        cause: "The cluster id in the database is not the one that this replica remembers in its \
                data folder: the URL leads elsewhere, the database was made anew, or a loss was \
                accepted on another replica.",
        remedy: "Correct --database or --data-dir; after an accepted loss, run `polis store \
                 recover --accept-loss` with this replica's data folder too.",
    },
];
