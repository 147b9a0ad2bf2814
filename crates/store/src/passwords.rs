//! Passwords: hashed with bcrypt, which is slow on purpose.
//!
//! It runs on threads that may block, and on no more than half of the cores, so
//! that a flood of logins takes neither the runtime nor the machine from those
//! who are logged in; whoever comes when too many wait is told so. A user that
//! does not exist takes as long as a wrong password.

use std::{num::NonZero, sync::Arc};

use keyspace::auth::{Password, PasswordHash};
use kv::{AuthError, Error};
use tokio::sync::Semaphore;

/// Logins that wait for their turn: at a tenth of a second each, seconds.
const WAITING_MAX: usize = 64;

/// bcrypt looks at no more, and etcd refuses what it would not look at.
const PASSWORD_BYTES_MAX: usize = 72;

pub(crate) struct Passwords {
    cost: u32,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// For users that do not exist; made when one is first asked for.
    decoy: tokio::sync::OnceCell<PasswordHash>,
}

// === impl Passwords ===

impl Passwords {
    pub fn new(cost: u32) -> Passwords {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let turns = (cores / 2).max(1);
        Passwords {
            cost,
            turns: Arc::new(Semaphore::new(turns)),
            places: Arc::new(Semaphore::new(turns + WAITING_MAX)),
            decoy: tokio::sync::OnceCell::new(),
        }
    }

    pub async fn hash(&self, password: String) -> Result<PasswordHash, Error> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(AuthError::PasswordTooLong.into());
        }
        let cost = self.cost;
        let hashed = self.work(move || bcrypt::hash(password.as_bytes(), cost)).await?;
        let hash = hashed.map_err(|error| Error::Other(format!("polis: {error}")))?;
        Ok(PasswordHash::new(&hash))
    }

    /// Checks what a user without a password, or no user at all, would show,
    /// and takes its time for it.
    pub async fn check(&self, password: String, of: Option<&Password>) -> Result<(), Error> {
        let (hash, real) = match of {
            Some(Password::Never) => return Err(AuthError::NoPasswordUser.into()),
            Some(Password::Hash(hash)) => (hash.clone(), true),
            Some(Password::Cleared) | None => {
                let decoy = self.decoy.get_or_try_init(|| self.hash(String::new())).await?;
                (decoy.clone(), false)
            }
        };
        let fits = password.len() <= PASSWORD_BYTES_MAX;
        let verify = move || bcrypt::verify(password.as_bytes(), hash.as_str());
        // A hash that is none lets nobody in.
        let same = self.work(verify).await?.unwrap_or(false);
        match same && real && fits {
            true => Ok(()),
            false => Err(AuthError::AuthFailed.into()),
        }
    }

    async fn work<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::TooManyRequests)?;
        let turn = self.turns.clone().acquire_owned().await.expect("it is never closed");
        // The turn lasts as long as the work does, wanted or not any more.
        let work = move || {
            let done = task();
            drop((turn, place));
            done
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Other(format!("polis: password not looked at: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bcrypt's least.
    const COST: u32 = 4;

    #[tokio::test]
    async fn the_right_password_is_let_in_and_nothing_else_is() {
        let passwords = Passwords::new(COST);
        let hash = passwords.hash("right".into()).await.expect("a hash");
        assert_ne!(hash, passwords.hash("right".into()).await.expect("a hash"), "salted");
        let user = Password::Hash(hash);
        assert_eq!(passwords.check("right".into(), Some(&user)).await, Ok(()));
        let failed = Err(AuthError::AuthFailed.into());
        for wrong in ["", "righ", "right\0", "RIGHT", &"r".repeat(1000)] {
            assert_eq!(passwords.check(wrong.into(), Some(&user)).await, failed, "{wrong}");
        }
        for none in [None, Some(&Password::Cleared)] {
            assert_eq!(passwords.check(String::new(), none).await, failed);
        }
        let garbled = Password::Hash(PasswordHash::new("no hash"));
        assert_eq!(passwords.check("no hash".into(), Some(&garbled)).await, failed);
    }

    #[tokio::test]
    async fn no_password_is_cut_off() {
        let passwords = Passwords::new(COST);
        let longest = "p".repeat(PASSWORD_BYTES_MAX);
        let hash = passwords.hash(longest.clone()).await.expect("a hash");
        let longer = format!("{longest}!");
        let refused = passwords.hash(longer.clone()).await;
        assert_eq!(refused, Err(AuthError::PasswordTooLong.into()));
        let user = Password::Hash(hash);
        assert_eq!(passwords.check(longest, Some(&user)).await, Ok(()));
        let failed = Err(AuthError::AuthFailed.into());
        assert_eq!(passwords.check(longer, Some(&user)).await, failed);
    }

    #[tokio::test]
    async fn whoever_comes_when_too_many_wait_is_told_so() {
        let passwords = Passwords::new(COST);
        let all = u32::try_from(passwords.places.available_permits()).expect("a few");
        let places = passwords.places.clone().acquire_many_owned(all).await.expect("open");
        let refused = passwords.check("any".into(), None).await;
        assert_eq!(refused, Err(Error::TooManyRequests));
        drop(places);
        assert!(passwords.hash("any".into()).await.is_ok());
    }
}
