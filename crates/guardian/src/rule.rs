//! Who may lead next. Pure: what was seen comes in, a choice or its refusal
//! comes out.
//!
//! The leader answers a commit when one acknowledging member has it. So what was
//! acknowledged is certainly known only to all of them together, and the old
//! leader can acknowledge nothing once all of them have turned away from it.
//! Both need the same: every one of them must be here. Then nobody has to reach
//! the old leader, and no clock is involved.

use crate::{Epoch, Error, History, Mandate, Name};

/// A member that has turned away from its leader and has applied all that it
/// received.
#[derive(Clone, Debug)]
pub struct Ready {
    pub name: Name,
    pub city: Name,
    pub history: History,
    pub mandate: Option<Mandate>,
    /// It has acknowledged without a break since it was let in. One that was
    /// started again has not: what it had received and not applied is gone.
    pub vouches: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub leader: Name,
    pub mandate: Mandate,
}

/// The next leader after the one of epoch `seen`.
///
/// The most advanced one: its history covers those of all others that
/// acknowledged. Of several, one of `preferred`'s city, then the first by name.
pub fn choose(seen: Epoch, ready: &[Ready], preferred: Option<&Name>) -> Result<Choice, Error> {
    let mandates = ready.iter().filter_map(|member| member.mandate.as_ref());
    let mandate = mandates.max_by_key(|mandate| mandate.epoch).ok_or(Error::NotFounded)?;
    if mandate.epoch != seen {
        return Err(Error::Moved { epoch: mandate.epoch, leader: mandate.leader.clone() });
    }
    let vouches = |name: &Name| ready.iter().find(|member| member.name == *name && member.vouches);
    let missing: Vec<Name> =
        mandate.ackers.iter().filter(|name| vouches(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::Missing { members: missing });
    }
    let ackers: Vec<&Ready> = mandate.ackers.iter().filter_map(vouches).collect();
    let covers = |one: &Ready| ackers.iter().all(|other| one.history.covers(&other.history));
    let mut leading: Vec<&Ready> = ackers.iter().copied().filter(|member| covers(member)).collect();
    leading.sort_by_key(|member| (preferred != Some(&member.city), member.name.clone()));
    let leader = *leading.first().ok_or_else(|| Error::Diverged {
        histories: ackers.iter().map(|m| format!("{} has {}", m.name, m.history)).collect(),
    })?;
    let next = followers(leader, ready);
    if next.is_empty() {
        return Err(Error::Alone { leader: leader.name.clone() });
    }
    let mandate = Mandate { epoch: seen.next(), leader: leader.name.clone(), ackers: next };
    Ok(Choice { leader: leader.name.clone(), mandate })
}

/// Who acknowledges to `leader`: members in other cities, since a city may be
/// lost whole, and with nothing that the leader does not have.
fn followers(leader: &Ready, ready: &[Ready]) -> Vec<Name> {
    let others = ready.iter().filter(|member| member.city != leader.city);
    let others = others.filter(|member| leader.history.covers(&member.history));
    others.map(|member| member.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn mandate(epoch: u64, ackers: &[&str]) -> Mandate {
        let ackers = ackers.iter().map(|text| name(text)).collect();
        Mandate { epoch: Epoch(epoch), leader: name("a1"), ackers }
    }

    /// Named by its city's letter and a number.
    fn ready(text: &str, history: &str, ackers: &[&str]) -> Ready {
        Ready {
            name: name(text),
            city: name(&text[..1]),
            history: History::parse(history).expect("well-formed"),
            mandate: Some(mandate(4, ackers)),
            vouches: true,
        }
    }

    fn check(ready: &[Ready], expected: &str) {
        let said = match choose(Epoch(4), ready, None) {
            Ok(choice) => {
                let ackers: Vec<_> = choice.mandate.ackers.iter().map(Name::as_str).collect();
                format!("{} {} {}", choice.leader, choice.mandate.epoch, ackers.join(","))
            }
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{said:?} and not {expected:?}");
    }

    #[test]
    fn the_most_advanced_of_those_that_acknowledge_leads() {
        let both = ["b1", "c1"];
        let (b, c) = (ready("b1", "0-1-9", &both), ready("c1", "0-1-12", &both));
        check(&[b.clone(), c.clone()], "c1 5 b1");
        check(&[b.clone(), ready("c1", "0-1-9", &both)], "b1 5 c1");
        // A member of the old leader's city did not acknowledge, and now does.
        check(&[ready("a2", "0-1-3", &[]), b, c], "c1 5 a2,b1");
    }

    #[test]
    fn nobody_leads_while_one_that_may_have_acknowledged_is_missing() {
        let both = ["b1", "c1"];
        let (b, c) = (ready("b1", "0-1-9", &both), ready("c1", "0-1-12", &both));
        check(std::slice::from_ref(&c), "b1 may have acknowledged");
        let again = Ready { vouches: false, ..b.clone() };
        check(&[again, c], "b1 may have acknowledged");
        // Those let in since are known from whoever has the newest row.
        let newer = ready("c1", "0-1-12", &["b1", "c1", "d1"]);
        let newer = Ready { mandate: Some(mandate(5, &["b1", "c1", "d1"])), ..newer };
        check(&[b, newer], "epoch 5");
    }

    #[test]
    fn two_branches_and_a_lone_survivor_are_refused() {
        let both = ["b1", "c1"];
        let (b, c) = (ready("b1", "0-1-9,0-2-10", &both), ready("c1", "0-1-12", &both));
        check(&[b, c], "do not cover each other");
        check(&[ready("b1", "0-1-9", &["b1"])], "nobody in another city");
        let same_city = ready("b2", "0-1-9", &["b1"]);
        check(&[ready("b1", "0-1-9", &["b1"]), same_city], "nobody in another city");
    }

    #[test]
    fn a_preferred_city_decides_only_between_equals() {
        let both = ["b1", "c1"];
        let equals = [ready("b1", "0-1-9", &both), ready("c1", "0-1-9", &both)];
        let chosen = choose(Epoch(4), &equals, Some(&name("c"))).expect("somebody");
        assert_eq!(chosen.leader, name("c1"));
        let ahead = [ready("b1", "0-1-10", &both), ready("c1", "0-1-9", &both)];
        let chosen = choose(Epoch(4), &ahead, Some(&name("c"))).expect("somebody");
        assert_eq!(chosen.leader, name("b1"));
    }
}
