//! What must hold of all that comes from outside, for any bytes, as the fuzz
//! targets ask.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use keyspace::{
    Keyspace,
    auth::{Auth, Caller, Order, Password, RoleName, Secret, UserName},
};
use kv::KeyspaceName;
use rt::Clock;

use crate::{snapshot::Snapshot, token::Tokens};

/// A body for the JSON gateway, behind the number of its path.
pub fn gateway(data: &[u8]) {
    crate::gateway::fuzz::body(data);
}

/// Nothing is a token but what was issued.
pub fn token(data: &[u8]) {
    struct World {
        auth: Arc<Auth>,
        tokens: Tokens,
        good: String,
    }
    static WORLD: LazyLock<World> = LazyLock::new(|| {
        let mut keyspace = Keyspace::new(keyspace::Config::default());
        let root = UserName::root();
        for order in [
            Order::UserAdd { name: root.clone(), password: Password::Cleared },
            Order::UserGrantRole { user: root.clone(), role: RoleName::root() },
            Order::Enable { secret: Secret([7; 32]) },
        ] {
            let _applied = keyspace.auth_apply(&Caller::Trusted, &order).expect("it is allowed");
        }
        let (clock, _hand) = Clock::manual();
        let tokens = Tokens::new(KeyspaceName::default(), Duration::from_secs(300), clock);
        let auth = keyspace.auth().clone();
        let good = tokens.issue(&auth, &root).expect("auth is enabled");
        World { auth, tokens, good }
    });
    let World { auth, tokens, good } = &*WORLD;
    assert!(tokens.verify(auth, good).is_ok());
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(text == good || tokens.verify(auth, text).is_err());
    }
    // One that was issued, and changed here and there.
    let mut forged = good.clone().into_bytes();
    for change in data.chunks_exact(2) {
        let at = usize::from(change[0]) % forged.len();
        forged[at] = b"0123456789abcdef"[usize::from(change[1] % 16)];
    }
    forged.truncate(forged.len() - data.len() % 2);
    let forged = String::from_utf8(forged).expect("digits are ASCII");
    assert!(forged == *good || tokens.verify(auth, &forged).is_err());
}

/// A file that is said to be an etcd's: read to its end, or refused.
pub fn snapshot(data: &[u8]) {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        std::env::temp_dir().join(format!("polis-fuzz-snapshot-{}", std::process::id()))
    });
    let mut file = std::fs::File::create(&*FILE).expect("the folder of temporary files is ours");
    file.write_all(data).expect("there is room");
    drop(file);
    for skip_hash_check in [false, true] {
        if let Ok(snapshot) = Snapshot::open(&FILE, skip_hash_check) {
            let _ = snapshot.read_through();
        }
    }
    let _ = std::fs::remove_file(&*FILE);
}
