//! Which database, as whom: a URL without a password, and the password.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use errors::DATABASE_URL;

use super::tls::{Checks, Tls, Typed};
use crate::Error;

const PORT_DEFAULT: u16 = 3306;

/// A server that does not greet within this is passed over for the next one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Longer than any healthy commit across cities, and short enough that a
/// stalled server is left within the time that its failover takes.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// `mysql://USER@HOST:PORT[,HOST:PORT]…/DATABASE?OPTION=VALUE&…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlConfig {
    /// In the order in which they are tried.
    pub endpoints: Vec<Endpoint>,
    pub user: String,
    pub password: Option<Password>,
    /// Where the password was read, and is again once it is refused.
    pub password_file: Option<PathBuf>,
    pub database: String,
    pub tls: Tls,
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

/// Not shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

// === impl SqlConfig ===

impl SqlConfig {
    pub fn parse(url: &str) -> Result<SqlConfig, Error> {
        let rest = url
            .strip_prefix("mysql://")
            .ok_or_else(|| wrong(format!("{:?} does not begin with mysql://", scheme(url))))?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest
            .split_once('/')
            .filter(|(_, database)| !database.is_empty())
            .ok_or_else(|| wrong("it names no database after the servers"))?;
        let (user, servers) = authority
            .rsplit_once('@')
            .ok_or_else(|| wrong("it names no user before the servers"))?;
        if user.contains(':') {
            return Err(wrong("it holds a password"));
        }
        let endpoints = servers.split(',').map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let is_local = endpoints.iter().all(Endpoint::is_local);
        let mut config = SqlConfig {
            endpoints,
            user: decoded(user)?,
            password: None,
            password_file: None,
            database: decoded(database)?,
            tls: if is_local { Tls::Disabled } else { Tls::Enabled(Checks::default()) },
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
        };
        if config.user.is_empty() {
            return Err(wrong("it names no user before the servers"));
        }
        config.apply(options)?;
        Ok(config)
    }

    #[must_use]
    pub fn with_password(self, password: Option<String>) -> SqlConfig {
        SqlConfig { password: password.map(Password), ..self }
    }

    /// With the password that is in the file, now and whenever the
    /// server refuses the one before: so it is changed without a restart.
    pub fn with_password_file(self, file: PathBuf) -> std::io::Result<SqlConfig> {
        let password = Some(Password::read(&file)?);
        Ok(SqlConfig { password, password_file: Some(file), ..self })
    }

    fn apply(&mut self, options: &str) -> Result<(), Error> {
        let mut tls = Typed::default();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| wrong(format!("option {option:?} has no value")))?;
            let value = decoded(value)?;
            match name {
                "ssl-mode" => tls.mode = Some(value),
                "ssl-ca" => tls.ca = Some(value.into()),
                "ssl-cert" => tls.cert = Some(value.into()),
                "ssl-key" => tls.key = Some(value.into()),
                "connect-timeout-ms" => self.connect_timeout = milliseconds(name, &value)?,
                "statement-timeout-ms" => self.statement_timeout = milliseconds(name, &value)?,
                other => return Err(wrong(format!("option {other:?} is not known"))),
            }
        }
        if let Some(tls) = tls.resolve().map_err(wrong)? {
            self.tls = tls;
        }
        Ok(())
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn is_local(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

// === impl Password ===

impl Password {
    pub(super) fn read(file: &Path) -> std::io::Result<Password> {
        let text = std::fs::read_to_string(file)?;
        Ok(Password(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Never with the URL itself: it may hold a password.
fn wrong(problem: impl fmt::Display) -> Error {
    Error::Database { code: DATABASE_URL, problem: format!("the database's URL: {problem}") }
}

fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

fn endpoint(server: &str) -> Result<Endpoint, Error> {
    let bad = || wrong(format!("{server:?} is not HOST or HOST:PORT"));
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(bad)?;
            (host, port.strip_prefix(':'))
        }
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let port = port.map_or(Ok(PORT_DEFAULT), str::parse).map_err(|_| bad())?;
    if host.is_empty() {
        return Err(bad());
    }
    Ok(Endpoint { host: host.to_owned(), port })
}

fn milliseconds(name: &str, value: &str) -> Result<Duration, Error> {
    let count: u64 = value
        .parse()
        .ok()
        .filter(|count| (100..=60_000).contains(count))
        .ok_or_else(|| wrong(format!("{name} is not a number from 100 to 60000")))?;
    Ok(Duration::from_millis(count))
}

/// Undoes percent-encoding (RFC 3986).
fn decoded(text: &str) -> Result<String, Error> {
    let bad = || wrong(format!("{text:?} is not percent-encoded UTF-8"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(bad)?;
        let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tls::{ClientCertificate, ServerCheck};

    #[test]
    fn a_url_names_servers_user_database_and_options() {
        let url = "mysql://root%40polis@db1:3307,db2,[::1]:9/polis?ssl-mode=VERIFY_CA&ssl-ca=/ca.pem\
                   &statement-timeout-ms=500";
        let config = SqlConfig::parse(url).expect("it is well-formed");
        let servers: Vec<_> = config.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["db1:3307", "db2:3306", "[::1]:9"]);
        assert_eq!((config.user.as_str(), config.database.as_str()), ("root@polis", "polis"));
        let server = ServerCheck::Authority(Some("/ca.pem".into()));
        assert_eq!(config.tls, Tls::Enabled(Checks { server, client: None }));
        assert_eq!(config.statement_timeout, Duration::from_millis(500));
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear_unasked() {
        let tls = |url| SqlConfig::parse(url).expect("it is well-formed").tls;
        assert_eq!(tls("mysql://u@127.0.0.1:4000/d"), Tls::Disabled);
        assert_eq!(tls("mysql://u@db/d"), Tls::Enabled(Checks::default()));
        assert_eq!(tls("mysql://u@db/d?ssl-mode=disabled"), Tls::Disabled);
        let client = ClientCertificate { cert: "/c.pem".into(), key: "/k.pem".into() };
        let shown = Checks { client: Some(client), ..Checks::default() };
        assert_eq!(
            tls("mysql://u@127.0.0.1/d?ssl-cert=/c.pem&ssl-key=/k.pem"),
            Tls::Enabled(shown)
        );
    }

    #[test]
    fn what_is_wrong_with_a_url_is_named_and_a_password_is_not_repeated() {
        for (url, problem) in [
            ("postgres://u@h/d", "does not begin with mysql://"),
            ("mysql://u@h", "names no database"),
            ("mysql://h/d", "names no user"),
            ("mysql://u:secret@h/d", "it holds a password"),
            ("mysql://u@h:port/d", "\"h:port\" is not HOST or HOST:PORT"),
            ("mysql://u@h/d?color=red", "option \"color\" is not known"),
            ("mysql://u@h/d?ssl-mode=maybe", "ssl-mode \"maybe\" is none of"),
            ("mysql://u@h/d?ssl-mode=required&ssl-ca=/ca", "required has no use for ssl-ca"),
            ("mysql://u@h/d?ssl-cert=/c", "ssl-cert needs ssl-key"),
            ("mysql://u@h/d?ssl-mode=disabled&ssl-cert=/c&ssl-key=/k", "no use for ssl-cert"),
            ("mysql://u@h/d?statement-timeout-ms=0", "statement-timeout-ms is not a number"),
        ] {
            let error = SqlConfig::parse(url).expect_err(url);
            assert_eq!(error.code(), Some(DATABASE_URL), "{url}");
            let text = error.to_string();
            assert!(text.contains(problem) && !text.contains("secret"), "{url}: {text}");
        }
    }
}
