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
        remedy: "Delete what is not needed and compact, or raise the quota and start again.",
    },
    Entry {
        code: STORE_DATA_LOCKED,
        title: "the store's data is in use by another process",
        cause: "Two processes that write one log would destroy it, so the first holds a lock on \
                the folder for as long as it lives.",
        remedy: "Stop the other process, or give this one its own folder with --data.",
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
];
