//! What was asked for, and what it means on this layout.

use std::fmt;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::{
    layout::{CenterPlan, Layout},
    up::fault::{Cut, Direction, Fault, STORE, USERS},
};

/// All packets, in per mille.
const ALL: u16 = 1000;

/// How long a fault lasts that moves no shard, unless it is said.
const LASTS_S: u64 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    City,
    Center,
    /// The center whose controllers hold the lease of this name.
    Leader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Kill,
    Pause,
    Silence,
    Cut,
    Lose,
}

/// One fault, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spec {
    pub fault: Kind,
    pub scope: Scope,
    pub name: String,
    /// The other side of a cut or of loss: everyone unless named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Of loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u16>,
    /// How long it lasts where no shard is expected to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts_s: Option<u64>,
}

// === impl Spec ===

impl Spec {
    #[must_use]
    pub fn new(fault: Kind, scope: Scope, name: String) -> Spec {
        Spec { fault, scope, name, to: Vec::new(), direction: None, percent: None, lasts_s: None }
    }

    /// The same fault, on the center that leads now: the holder of a lease is
    /// written `CENTER-RANDOM`.
    #[must_use]
    pub fn led_by(&self, holder: &str) -> Spec {
        let center = holder.rsplit_once('-').map_or(holder, |(center, _)| center);
        Spec { scope: Scope::Center, name: center.into(), ..self.clone() }
    }

    /// The centers that are hit.
    pub fn hit(&self, layout: &Layout) -> anyhow::Result<Vec<CenterPlan>> {
        let named = |plan: &&CenterPlan| match self.scope {
            Scope::City => plan.city.as_str() == self.name,
            Scope::Center => plan.center.as_str() == self.name,
            // Any of them may lead when its turn comes; see `led_by`.
            Scope::Leader => true,
        };
        let hit: Vec<_> = layout.centers.iter().filter(named).cloned().collect();
        if hit.is_empty() {
            let code = errors::DRILL_TARGET;
            bail!("{code}: {} is not here. {}", self.name, code.remedy());
        }
        Ok(hit)
    }

    /// What the supervisor is asked to do.
    pub fn fault(&self, layout: &Layout) -> anyhow::Result<Fault> {
        let centers = self.hit(layout)?.iter().map(|plan| plan.center.to_string()).collect();
        let cut = |centers, direction, loss_per_mille| -> anyhow::Result<Fault> {
            if layout.subnet.is_none() {
                let code = errors::DRILL_NETWORK;
                bail!("{code}: centers share one network. {}", code.remedy());
            }
            let peers = self.peers(layout)?;
            Ok(Fault::Cut(Cut { centers, peers, direction, loss_per_mille }))
        };
        let direction = self.direction.unwrap_or(Direction::Both);
        match self.fault {
            Kind::Kill => Ok(Fault::Kill { centers }),
            Kind::Pause => Ok(Fault::Pause { centers }),
            Kind::Silence => cut(centers, Direction::Both, ALL),
            Kind::Cut => cut(centers, direction, ALL),
            Kind::Lose => cut(centers, direction, self.percent.unwrap_or(100).min(100) * 10),
        }
    }

    /// Centers, the store and the users that are named, cities spelled out.
    fn peers(&self, layout: &Layout) -> anyhow::Result<Vec<String>> {
        let mut peers = Vec::new();
        for name in &self.to {
            let of_city = layout.centers.iter().filter(|plan| plan.city.as_str() == name);
            let before = peers.len();
            peers.extend(of_city.map(|plan| plan.center.to_string()));
            let known = layout.centers.iter().any(|plan| plan.center.as_str() == name)
                || [STORE, USERS].contains(&name.as_str());
            match (known, peers.len() > before) {
                (true, _) => peers.push(name.clone()),
                (false, true) => {}
                (false, false) => {
                    let code = errors::DRILL_TARGET;
                    bail!("{code}: {name} is not here. {}", code.remedy());
                }
            }
        }
        Ok(peers)
    }

    /// Whether what is hit is lost to all others, so that its shards must move.
    #[must_use]
    pub fn moves_shards(&self) -> bool {
        match self.fault {
            Kind::Kill | Kind::Pause | Kind::Silence => true,
            Kind::Cut => self.to.is_empty(),
            Kind::Lose => false,
        }
    }

    /// How long a fault lasts that moves no shard.
    #[must_use]
    pub fn lasts_s(&self) -> u64 {
        self.lasts_s.unwrap_or(LASTS_S)
    }

    /// What is expected; the drill shows whether it is so.
    #[must_use]
    pub fn hypothesis(&self) -> String {
        let nothing = "no acknowledged payment is lost, none is made twice";
        if self.moves_shards() {
            format!("its shards are served elsewhere and service is whole again; {nothing}")
        } else {
            format!("payments go on in all shards, wherever they are served; {nothing}")
        }
    }
}

/// `cut center east-1 out to store`.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.fault {
            Kind::Kill => "kill",
            Kind::Pause => "pause",
            Kind::Silence => "silence",
            Kind::Cut => "cut",
            Kind::Lose => "lose",
        };
        let scope = match self.scope {
            Scope::City => "city",
            Scope::Center => "center",
            Scope::Leader => "leader",
        };
        write!(f, "{kind} {scope} {}", self.name)?;
        if let Some(direction) = self.direction {
            write!(f, " {direction}")?;
        }
        if !self.to.is_empty() {
            write!(f, " to {}", self.to.join(","))?;
        }
        self.percent.map_or(Ok(()), |percent| write!(f, " {percent}%"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layout::LayoutName, subnet::Subnet};

    #[test]
    fn a_link_between_cities_names_the_centers_at_both_ends() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, Subnet::all().next());
        let spec = Spec {
            to: vec!["south".into(), "store".into()],
            direction: Some(Direction::Out),
            ..Spec::new(Kind::Cut, Scope::City, "east".into())
        };
        let Fault::Cut(cut) = spec.fault(&layout).expect("a fault") else { panic!("a cut") };
        assert_eq!(cut.centers, ["east-1", "east-2"]);
        assert_eq!(cut.peers, ["south-1", "south-2", "store"]);
        assert_eq!(spec.to_string(), "cut city east out to south,store");
        assert!(!spec.moves_shards());
    }

    #[test]
    fn the_leader_is_the_center_that_holds_the_lease() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let spec = Spec::new(Kind::Kill, Scope::Leader, "controllers".into());
        let now = spec.led_by("east-1-538d1ff1e227b98a");
        assert_eq!(spec.to_string(), "kill leader controllers");
        assert_eq!(now.fault(&layout).expect("a fault").centers(), ["east-1"]);
        assert_eq!(spec.hit(&layout).expect("centers").len(), 5, "any of them may lead");
    }

    #[test]
    fn lines_that_are_not_there_cannot_be_cut() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let spec = Spec::new(Kind::Silence, Scope::City, "east".into());
        let error = spec.fault(&layout).expect_err("one network").to_string();
        assert!(error.contains("PLS0705") && error.contains("--network namespaces"), "{error}");
    }
}
