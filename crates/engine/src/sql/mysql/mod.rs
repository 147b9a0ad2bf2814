//! A real database, by mysql_async: which server is used, and how a session is
//! made fit.
//!
//! All sessions of a process go to one server, because Galera's nodes, and a
//! primary and its old primary, agree only on what is certified: writers that
//! alternate between them would meet conflicts. The list's order decides; the
//! next server is taken when one cannot be connected to, or falls silent where
//! there is one leader, and kept.

mod append;
mod connection;
mod failure;
mod flavour;
mod fold;
mod optimize;
mod pages;
mod restore;
mod schema;
mod secure;
mod session;
mod text;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use errors::{DATABASE_ACCESS, DATABASE_PACKET, DATABASE_UNREACHABLE};
use mysql_async::{Conn, Error as DriverError, Opts, OptsBuilder};
use tokio::time::timeout;

pub use self::{
    failure::Broke,
    session::{Answer, Session},
    text::{Arg, Text},
};
use self::{flavour::Flavour, secure::ssl_opts};
use super::{Connection, Database, Endpoint, Failure, SqlConfig, config::Password};
use crate::Error;

/// A value of etcd's largest request, escaped, and what stands beside it.
const PACKET_BYTES_MIN: usize = 4 * 1024 * 1024;

pub struct Mysql {
    config: SqlConfig,
    /// One for each endpoint, with the password as it is now.
    opts: RwLock<Vec<Opts>>,
    used: Arc<AtomicUsize>,
}

// === impl Mysql ===

impl Mysql {
    pub fn new(config: SqlConfig) -> Result<Mysql, Error> {
        if config.endpoints.is_empty() {
            let problem = "the list of servers is empty".to_owned();
            return Err(Error::Database { code: DATABASE_UNREACHABLE, problem });
        }
        let opts = RwLock::new(config.all_opts());
        Ok(Mysql { config, opts, used: Arc::default() })
    }

    /// Takes another password from its file. False if it is the same, or there
    /// is none.
    fn rotate(&self, refused: &Opts) -> bool {
        let Some(file) = &self.config.password_file else { return false };
        let password = match Password::read(file) {
            Ok(password) => password,
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "the password cannot be read");
                return false;
            }
        };
        let is_new = refused.pass() != Some(password.0.as_str());
        if is_new {
            let config = SqlConfig { password: Some(password), ..self.config.clone() };
            // No code that can panic runs under this lock.
            *self.opts.write().unwrap_or_else(PoisonError::into_inner) = config.all_opts();
            tracing::info!(file = %file.display(), "the password was changed");
        }
        is_new
    }

    fn opts(&self, index: usize) -> Opts {
        self.opts.read().unwrap_or_else(PoisonError::into_inner)[index].clone()
    }

    /// A session of the server that is used, or of the next one that works.
    pub async fn session(&self) -> Result<Session, Failure> {
        let first = self.used.load(Relaxed);
        let mut problems = Vec::new();
        let mut refused = None;
        for step in 0..self.config.endpoints.len() {
            let index = (first + step) % self.config.endpoints.len();
            match self.try_connect(index).await {
                Ok(session) => {
                    if index != first {
                        let (from, to) =
                            (&self.config.endpoints[first], &self.config.endpoints[index]);
                        tracing::warn!(%from, %to, problems = problems.join("; "), "another server of the database is used");
                        self.used.store(index, Relaxed);
                    }
                    return Ok(session);
                }
                Err(failure) => {
                    let problem = match failure {
                        Failure::Refused(error) => refused.insert(error).to_string(),
                        Failure::Conflict(problem)
                        | Failure::Unavailable(problem)
                        | Failure::Lost(problem) => problem,
                    };
                    problems.push(format!("{}: {problem}", self.config.endpoints[index]));
                }
            }
        }
        Err(match refused {
            Some(error) => Failure::Refused(error),
            None => Failure::Unavailable(problems.join("; ")),
        })
    }

    async fn try_connect(&self, index: usize) -> Result<Session, Failure> {
        let opts = self.opts(index);
        let opened = match self.open(&opts).await {
            Err(Failure::Refused(_)) if self.rotate(&opts) => self.open(&self.opts(index)).await,
            opened => opened,
        };
        let conn = opened?;
        let next = (index + 1) % self.config.endpoints.len();
        let mut session =
            Session::new(conn, (index, next), self.used.clone(), self.config.statement_timeout);
        prepare(&mut session).await?;
        Ok(session)
    }

    async fn open(&self, opts: &Opts) -> Result<Conn, Failure> {
        match timeout(self.config.connect_timeout, self.greet(opts)).await {
            Err(_) => Err(Failure::Unavailable("it does not greet in time".to_owned())),
            Ok(Err(error)) => Err(failure::of_connect(&error)),
            Ok(Ok(conn)) => Ok(conn),
        }
    }

    async fn greet(&self, opts: &Opts) -> Result<Conn, DriverError> {
        let error = match Conn::new(opts.clone()).await {
            Ok(conn) => return Ok(conn),
            Err(error) => error,
        };
        match secure::for_shown_name(&self.config.tls, &error) {
            Some(ssl) => Conn::new(OptsBuilder::from_opts(opts.clone()).ssl_opts(ssl)).await,
            None => Err(error),
        }
    }
}

#[async_trait]
impl Database for Mysql {
    async fn connect(&self) -> Result<Box<dyn Connection>, Failure> {
        Ok(Box::new(self.session().await?))
    }
}

/// Learns what the server is, whether it may be used, and sets the session.
async fn prepare(session: &mut Session) -> Result<(), Failure> {
    let mut text = Text::default();
    text.say("SELECT VERSION(), @@max_allowed_packet, @@global.read_only", &[]);
    // Nothing where there is no Galera at all.
    text.say("SHOW VARIABLES LIKE 'wsrep_on'", &[]);
    text.say("SHOW STATUS LIKE 'wsrep_ready'", &[]);
    text.say("SHOW STATUS LIKE 'wsrep_cluster_status'", &[]);
    let mut answers = session.ask(text).await.map_err(|broke| broke.of_read())?;
    let mut setting = || {
        let answer = answers.pop().expect("as many answers as questions");
        answer.texts().pop().and_then(|mut row| row.pop()).unwrap_or_default()
    };
    let (status, ready, wsrep) = (setting(), setting(), setting());
    let row = answers.pop().and_then(|mut answer| answer.rows.pop());
    let (version, packet, read_only): (String, usize, String) = row
        .and_then(|row| mysql_async::from_row_opt(row).ok())
        .ok_or_else(|| Failure::Unavailable("it does not tell its version".to_owned()))?;
    if !["0", "OFF"].contains(&read_only.as_str()) {
        return Err(Failure::Unavailable("it is read-only".to_owned()));
    }
    if packet < PACKET_BYTES_MIN {
        let problem = format!("max_allowed_packet is {packet}");
        return Err(Failure::Refused(Error::Database { code: DATABASE_PACKET, problem }));
    }
    let flavour = Flavour::of(&version, wsrep == "ON");
    if flavour == Flavour::Galera && (ready != "ON" || status != "Primary") {
        let problem = format!("wsrep_ready is {ready}, wsrep_cluster_status is {status}");
        return Err(Failure::Unavailable(problem));
    }
    let mut text = Text::default();
    flavour.settings().iter().for_each(|setting| text.say(setting, &[]));
    session.ask(text).await.map_err(|broke| broke.of_read())?;
    session.settle(flavour, packet);
    Ok(())
}

// === impl SqlConfig ===

impl SqlConfig {
    /// How the driver connects to one of the servers; for others who talk to
    /// the database besides us, to measure what it can do.
    #[must_use]
    pub fn driver_opts(&self, endpoint: &Endpoint) -> Opts {
        opts(self, endpoint)
    }

    fn all_opts(&self) -> Vec<Opts> {
        self.endpoints.iter().map(|endpoint| self.driver_opts(endpoint)).collect()
    }
}

fn opts(config: &SqlConfig, endpoint: &Endpoint) -> Opts {
    /// So that a server that is gone without a word is noticed between calls.
    const KEEPALIVE: Duration = Duration::from_secs(5);
    OptsBuilder::default()
        .ip_or_hostname(endpoint.host.clone())
        .tcp_port(endpoint.port)
        .user(Some(config.user.clone()))
        .pass(config.password.clone().map(|password| password.0))
        .db_name(Some(config.database.clone()))
        .prefer_socket(Some(false))
        .tcp_keepalive(Some(KEEPALIVE))
        .stmt_cache_size(Some(0))
        .ssl_opts(ssl_opts(&config.tls))
        .into()
}

/// The user may not do this, or not here.
fn access(problem: String) -> Failure {
    Failure::Refused(Error::Database { code: DATABASE_ACCESS, problem })
}
