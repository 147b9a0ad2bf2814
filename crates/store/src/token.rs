//! Tokens: who logged in, signed, so that nobody has to remember it.
//!
//! A token says the user, at which revision of the users it was given out, and
//! when it ends, under an HMAC-SHA256 whose key stands in the keyspace's notes:
//! every replica over the same log accepts it, and no other keyspace does, nor
//! this one after auth was turned off and on again. The keyspace's name is
//! signed too, in case one is restored from another's backup.
//!
//! As in etcd, a token that is used lives on: each store remembers when it last
//! saw one, and accepts it beyond its end while it was not left unused for its
//! time to live. A store that does not remember (it was started since, or it
//! remembers too many) goes by the end that is written in it; the client then
//! logs in again, as etcd's do by themselves.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use keyspace::auth::{Auth, AuthRevision, Caller, NAME_BYTES_MAX, Secret, UserName};
use kv::{AuthError, Error, KeyspaceName};
use rt::{Clock, Millis};

const FORMAT: u8 = 1;
const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
/// Before the user's name: format, revision, end, id.
const HEAD_BYTES: usize = 1 + 8 + 8 + ID_BYTES;

/// In hexadecimal digits, as metadata must be text.
const TEXT_BYTES_MAX: usize = 2 * (HEAD_BYTES + NAME_BYTES_MAX + MAC_BYTES);

/// Tokens whose use is remembered: every client of a large estate, a few times
/// over, in a few megabytes.
const REMEMBERED_MAX: usize = 65_536;

/// What precedes everything signed, so that no other use of the key is a token.
const PURPOSE: &[u8] = b"polis auth token\0";

type Id = [u8; ID_BYTES];

/// The tokens of one keyspace.
pub(crate) struct Tokens {
    keyspace: KeyspaceName,
    ttl: Duration,
    clock: Clock,
    /// What people's clocks said when ours began, in milliseconds. Replicas
    /// whose clocks differ end a token so much earlier or later.
    began: u64,
    used: Mutex<HashMap<Id, Millis>>,
}

// === impl Tokens ===

impl Tokens {
    pub fn new(keyspace: KeyspaceName, ttl: Duration, clock: Clock) -> Tokens {
        let began = wall_ms().saturating_sub(clock.now().0);
        Tokens { keyspace, ttl, clock, began, used: Mutex::default() }
    }

    /// For someone whose password was checked against `auth`.
    pub fn issue(&self, auth: &Auth, user: &UserName) -> Result<String, Error> {
        let secret = auth.secret().ok_or(AuthError::AuthNotEnabled)?;
        let mut id = [0; ID_BYTES];
        fill(&mut id)?;
        let ends = self.wall_now().saturating_add(as_ms(self.ttl));
        let mut token = vec![FORMAT];
        token.extend(auth.revision().0.to_be_bytes());
        token.extend(ends.to_be_bytes());
        token.extend(id);
        token.extend(user.as_str().as_bytes());
        let mac = hmac::sign(&key(secret), &self.signed(&token));
        token.extend(mac.as_ref());
        Ok(to_hex(&token))
    }

    /// Who shows this token, if it is one of ours and alive.
    pub fn verify(&self, auth: &Auth, text: &str) -> Result<Caller, AuthError> {
        self.read(auth, text).ok_or(AuthError::InvalidAuthToken)
    }

    fn read(&self, auth: &Auth, text: &str) -> Option<Caller> {
        let secret = auth.secret()?;
        let token = from_hex(text)?;
        let (body, mac) = token.split_at_checked(token.len().checked_sub(MAC_BYTES)?)?;
        // Takes as long, wherever a forged one differs.
        hmac::verify(&key(secret), &self.signed(body), mac).ok()?;
        let (head, user) = body.split_at_checked(HEAD_BYTES)?;
        let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight"));
        if head[0] != FORMAT {
            return None;
        }
        let (issued, ends) = (AuthRevision(number(1)), number(9));
        let id = head[17..].try_into().expect("an id is what is left of the head");
        if !self.is_alive(id, ends) {
            return None;
        }
        let caller = Caller::Token { user: UserName::new(str::from_utf8(user).ok()?), issued };
        auth.check_known(&caller).ok()?;
        Some(caller)
    }

    /// And remembers that it was used.
    fn is_alive(&self, id: Id, ends: u64) -> bool {
        let (now, ttl) = (self.clock.now(), as_ms(self.ttl));
        let mut used = self.used();
        let alive =
            self.wall_now() <= ends || used.get(&id).is_some_and(|last| now.since(*last) <= ttl);
        if alive {
            if used.len() >= REMEMBERED_MAX && !used.contains_key(&id) {
                used.retain(|_, last| now.since(*last) <= ttl);
            }
            if used.len() < REMEMBERED_MAX || used.contains_key(&id) {
                used.insert(id, now);
            }
        }
        alive
    }

    fn signed(&self, body: &[u8]) -> Vec<u8> {
        [PURPOSE, self.keyspace.as_str().as_bytes(), b"\0", body].concat()
    }

    fn wall_now(&self) -> u64 {
        self.began.saturating_add(self.clock.now().0)
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Id, Millis>> {
        self.used.lock().expect("nobody panics while holding it")
    }
}

/// A key for tokens that nobody can guess.
pub(crate) fn new_secret() -> Result<Secret, Error> {
    let mut secret = [0; 32];
    fill(&mut secret)?;
    Ok(Secret(secret))
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error::Other("polis: no randomness".into()))
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &secret.0)
}

#[expect(clippy::disallowed_methods, reason = "a token ends for all replicas at once")]
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    as_ms(since)
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("a nibble is one digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > TEXT_BYTES_MAX || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use keyspace::auth::{Order, Password, RoleName};
    use rt::clock::Hand;

    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    struct World {
        keyspace: keyspace::Keyspace,
        clock: Clock,
        hand: Hand,
        tokens: Tokens,
    }

    impl World {
        fn new() -> World {
            let keyspace = keyspace::Keyspace::new(keyspace::Config::default());
            let (clock, hand) = Clock::manual();
            let tokens = tokens("default", &clock);
            let mut world = World { keyspace, clock, hand, tokens };
            let root = UserName::root();
            world.order(Order::UserAdd { name: root.clone(), password: Password::Cleared });
            world.order(Order::UserGrantRole { user: root, role: RoleName::root() });
            world.enable(1);
            world
        }

        fn order(&mut self, order: Order) {
            let applied = self.keyspace.auth_apply(&Caller::Trusted, &order);
            let _applied = applied.expect("it is allowed");
        }

        fn enable(&mut self, secret: u8) {
            self.order(Order::Enable { secret: Secret([secret; 32]) });
        }

        fn issue(&self) -> String {
            self.tokens.issue(self.keyspace.auth(), &UserName::root()).expect("a token")
        }

        fn accepts(&self, token: &str) -> bool {
            self.tokens.verify(self.keyspace.auth(), token).is_ok()
        }

        fn pass(&self, time: Duration) {
            self.hand.advance(as_ms(time));
        }
    }

    fn tokens(keyspace: &str, clock: &Clock) -> Tokens {
        Tokens::new(KeyspaceName::new(keyspace).expect("a name"), TTL, clock.clone())
    }

    #[test]
    fn a_token_says_who_it_is_and_nothing_else_does() {
        let world = World::new();
        let auth = world.keyspace.auth();
        let token = world.issue();
        let issued = auth.revision();
        let expected = Caller::Token { user: UserName::root(), issued };
        assert_eq!(world.tokens.verify(auth, &token), Ok(expected));
        assert_ne!(world.issue(), token);
        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
            let forged = [&token[..at], other, &token[at + 1..]].concat();
            assert!(!world.accepts(&forged), "digit {at}");
            assert!(!world.accepts(&token[..at]), "cut at {at}");
        }
        let longer = format!("{token}00");
        let long = "0".repeat(TEXT_BYTES_MAX * 2);
        for forged in ["", "0", "zz", &token.to_uppercase(), &longer, &long, "ää"] {
            assert!(!world.accepts(forged), "{forged}");
        }
    }

    #[test]
    fn a_token_opens_no_other_keyspace_and_none_that_was_enabled_anew() {
        let mut world = World::new();
        let token = world.issue();
        // Even one that was restored from this one's backup, secret and all.
        let other = tokens("other", &world.clock);
        assert!(other.verify(world.keyspace.auth(), &token).is_err());
        let replica = tokens("default", &world.clock);
        assert!(replica.verify(world.keyspace.auth(), &token).is_ok());
        world.order(Order::Disable);
        world.enable(2);
        assert!(!world.accepts(&token));
    }

    #[test]
    fn a_token_lives_while_it_is_used_and_ends_where_it_is_not() {
        let world = World::new();
        let token = world.issue();
        let replica = tokens("default", &world.clock);
        for _ in 0..10 {
            world.pass(TTL / 2 + Duration::from_secs(1));
            assert!(world.accepts(&token));
        }
        assert!(replica.verify(world.keyspace.auth(), &token).is_err(), "it never saw it");
        world.pass(TTL + Duration::from_secs(1));
        assert!(!world.accepts(&token));
        assert!(!world.accepts(&token), "a refusal is no use");
    }

    #[test]
    fn a_store_that_remembers_enough_goes_by_what_is_written() {
        let world = World::new();
        for n in 0..REMEMBERED_MAX as u128 {
            assert!(world.tokens.is_alive(n.to_be_bytes(), u64::MAX));
        }
        let token = world.issue();
        assert!(world.accepts(&token));
        assert_eq!(world.tokens.used().len(), REMEMBERED_MAX);
        world.pass(TTL + Duration::from_secs(1));
        assert!(!world.accepts(&token));
        // Those it remembered are forgotten in turn.
        assert!(world.accepts(&world.issue()));
        assert_eq!(world.tokens.used().len(), 1);
    }
}
