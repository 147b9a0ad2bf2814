//! What a server has in its log: for each of MariaDB's domains and each server
//! that wrote in it, the last number. Within a domain a server numbers upwards
//! and its transactions arrive in order, so the last one stands for all.

use std::{collections::BTreeMap, fmt};

use crate::Error;

/// `@@gtid_binlog_state`: `DOMAIN-SERVER-NUMBER`, with commas between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(BTreeMap<(u32, u32), u64>);

// === impl History ===

impl History {
    pub fn parse(text: &str) -> Result<History, Error> {
        let unreadable = || Error::Unreadable { what: "gtid_binlog_state", text: text.to_owned() };
        let gtid = |gtid: &str| {
            let mut numbers = gtid.trim().split('-');
            let domain = numbers.next()?.parse().ok()?;
            let server = numbers.next()?.parse().ok()?;
            let number = numbers.next()?.parse().ok()?;
            numbers.next().is_none().then_some(((domain, server), number))
        };
        let gtids = text.split(',').filter(|part| !part.trim().is_empty());
        let parsed: Option<BTreeMap<_, _>> = gtids.map(gtid).collect();
        Ok(History(parsed.ok_or_else(unreadable)?))
    }

    /// Whether it has all that `other` has.
    #[must_use]
    pub fn covers(&self, other: &History) -> bool {
        self.errant(other).is_empty()
    }

    /// Whether `other` has something that `server` wrote and this one does not.
    #[must_use]
    pub fn lacks_of(&self, server: u32, other: &History) -> bool {
        let of_server = other.0.iter().filter(|((_, by), _)| *by == server);
        of_server.into_iter().any(|(place, last)| self.0.get(place).is_none_or(|ours| ours < last))
    }

    /// What `other` has and this one does not: `DOMAIN-SERVER-FIRST..LAST`.
    #[must_use]
    pub fn errant(&self, other: &History) -> Vec<String> {
        let missing = other.0.iter().filter_map(|((domain, server), last)| {
            let ours = self.0.get(&(*domain, *server)).copied().unwrap_or(0);
            // The numbers of a domain go on from server to server: the first
            // one that is missing comes after all that we have of it.
            let before = self.0.iter().filter(|((of, _), _)| of == domain);
            let before = before.map(|(_, number)| *number).filter(|number| number < last).max();
            let first = ours.max(before.unwrap_or(0)) + 1;
            (ours < *last).then(|| format!("{domain}-{server}-{first}..{last}"))
        });
        missing.collect()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((domain, server), number)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{domain}-{server}-{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(text: &str) -> History {
        History::parse(text).expect("well-formed")
    }

    #[test]
    fn a_longer_history_covers_a_shorter_one_and_two_branches_cover_neither() {
        let (empty, short) = (history(""), history("0-1-100"));
        let long = history("0-1-100,0-2-130");
        assert!(short.covers(&empty) && long.covers(&short) && !short.covers(&long));
        let branch = history("0-1-104");
        assert!(!long.covers(&branch) && !branch.covers(&long));
        assert_eq!(long.to_string(), "0-1-100,0-2-130");
    }

    #[test]
    fn what_another_history_must_not_have_is_named() {
        let leader = history("0-1-100,0-2-130");
        assert_eq!(leader.errant(&history("0-1-104")), ["0-1-101..104"]);
        assert_eq!(history("0-1-100").errant(&history("0-1-100,0-3-101")), ["0-3-101..101"]);
        assert_eq!(leader.errant(&history("7-9-2")), ["7-9-1..2"]);
        assert!(leader.errant(&history("0-1-100")).is_empty());
    }

    #[test]
    fn what_a_server_wrote_and_lost_is_seen() {
        let leader = history("0-1-28,0-2-31");
        assert!(history("0-1-27").lacks_of(1, &leader) && history("").lacks_of(1, &leader));
        assert!(!history("0-1-28").lacks_of(1, &leader), "what others wrote is fetched anyway");
        assert!(!history("0-1-27").lacks_of(3, &leader));
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for text in ["1-2", "0-1-x", "0-1-2-3", "0-1-2;0-2-3"] {
            assert!(History::parse(text).is_err(), "{text}");
        }
    }
}
