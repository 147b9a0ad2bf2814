//! A server of a group: what it is called, which city it is in, where it is.

use std::{fmt, str::FromStr};

use engine::sql::Endpoint;

use crate::Error;

/// Chosen by people; letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// `NAME=CITY=HOST:PORT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Name,
    pub city: Name,
    pub endpoint: Endpoint,
}

/// Names stand in one column, with commas.
const NAME_BYTES_MAX: usize = 40;

// === impl Name ===

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name, Error> {
        let is_good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        match !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(is_good) {
            true => Ok(Name(text.to_owned())),
            false => Err(Error::Unreadable { what: "a name", text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Member ===

impl FromStr for Member {
    type Err = Error;

    fn from_str(text: &str) -> Result<Member, Error> {
        let bad = || Error::Unreadable { what: "NAME=CITY=HOST:PORT", text: text.to_owned() };
        let (name, rest) = text.split_once('=').ok_or_else(bad)?;
        let (city, address) = rest.split_once('=').ok_or_else(bad)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // It stands in a statement where nothing can be escaped.
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".:-_".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(bad());
        }
        let port = port.parse().map_err(|_| bad())?;
        let endpoint = Endpoint { host: host.to_owned(), port };
        Ok(Member { name: name.parse()?, city: city.parse()?, endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_name_a_city_and_an_address() {
        let member: Member = "db-1=east=10.0.0.1:3306".parse().expect("a member");
        assert_eq!((member.name.as_str(), member.city.as_str()), ("db-1", "east"));
        assert_eq!(member.endpoint.to_string(), "10.0.0.1:3306");
        for bad in ["db=10.0.0.1:3306", "db=east=host", "d,b=east=h:1", "db=east=h'x:1"] {
            assert!(bad.parse::<Member>().is_err(), "{bad}");
        }
    }
}
