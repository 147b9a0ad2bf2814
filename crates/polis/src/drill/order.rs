//! What was asked for, and what it means on this layout.

use std::fmt;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::{
    layout::{CenterPlan, Layout},
    up::{
        clock,
        fault::{Cut, DATABASE, Delay, Direction, Fault, Part, SERVER, STORE, USERS},
    },
};

/// All packets, in per mille.
const ALL: u16 = 1000;

/// How long a fault lasts that moves no shard, unless it is said.
const LASTS_S: u64 = 15;
/// And one that everybody waits for: less than a payment is tried for.
const STOPS_S: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    City,
    Center,
    /// The center whose controllers hold the lease of this name.
    Leader,
    /// A single process: the one that keeps the log (`store`), or one of a
    /// center's (`east-1/server`, `east-1/ledger`).
    Process,
    /// The node of the database that belongs to this center, and nothing else of
    /// the center.
    DatabaseNode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Kill,
    Pause,
    Silence,
    Cut,
    Lose,
    SlowLine,
    Delay,
    SlowDisk,
    FullDisk,
    Skew,
}

/// Of a slow line: a tenth of what a center's share of the load needs at rest.
const KBIT: u32 = 2000;
/// Of a long line: two cities a thousand kilometres of cable apart, and a little
/// for what stands between.
const DELAY_MS: u32 = 30;
const JITTER_MS: u32 = 5;
/// Of a slow disk: each commit waits for a twentieth of a second.
const WRITES: u32 = 20;
/// Of a wrong clock: longer than any key is kept.
const SKEW_S: i64 = 8 * 24 * 3600;

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
    /// Of a slow line: what it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kbit: Option<u32>,
    /// Of a long line: how long a packet is under way, and how much longer by
    /// chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<u32>,
    /// Of a slow disk: what it does in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u32>,
    /// Of a clock: by how much it is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_s: Option<i64>,
    /// How long it lasts where no shard is expected to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts_s: Option<u64>,
}

// === impl Spec ===

impl Spec {
    #[must_use]
    pub fn new(fault: Kind, scope: Scope, name: String) -> Spec {
        Spec {
            fault,
            scope,
            name,
            to: Vec::new(),
            direction: None,
            percent: None,
            kbit: None,
            delay_ms: None,
            jitter_ms: None,
            writes: None,
            skew_s: None,
            lasts_s: None,
        }
    }

    /// The same fault, on the center that leads now: the holder of a lease is
    /// written `CENTER-RANDOM`.
    #[must_use]
    pub fn led_by(&self, holder: &str) -> Spec {
        let center = holder.rsplit_once('-').map_or(holder, |(center, _)| center);
        Spec { scope: Scope::Center, name: center.into(), ..self.clone() }
    }

    /// The centers that are hit, or of which one process is; none where it is one
    /// beside them.
    pub fn hit(&self, layout: &Layout) -> anyhow::Result<Vec<CenterPlan>> {
        let center = match self.scope {
            Scope::Process if self.name == STORE => return Ok(Vec::new()),
            Scope::Process => match Part::of(&self.name) {
                Some(Part { program: "", .. }) | None => return Err(not_here(&self.name)),
                Some(part) => part.center,
            },
            _ => &self.name,
        };
        let named = |plan: &&CenterPlan| match self.scope {
            Scope::City => plan.city.as_str() == center,
            Scope::Center | Scope::Process | Scope::DatabaseNode => plan.center.as_str() == center,
            // Any of them may lead when its turn comes; see `led_by`.
            Scope::Leader => true,
        };
        let hit: Vec<_> = layout.centers.iter().filter(named).cloned().collect();
        if hit.is_empty() {
            return Err(not_here(&self.name));
        }
        Ok(hit)
    }

    /// Whether nobody can pay through the edges of the centers that are hit.
    #[must_use]
    pub fn takes_edges(&self) -> bool {
        match self.scope {
            Scope::City | Scope::Center | Scope::Leader => true,
            Scope::Process => Part::of(&self.name).is_some_and(|part| part.program == SERVER),
            Scope::DatabaseNode => false,
        }
    }

    /// What the supervisor is asked to do.
    pub fn fault(&self, layout: &Layout) -> anyhow::Result<Fault> {
        let names: Vec<_> = match self.scope {
            Scope::Process => self.hit(layout).map(|_| vec![self.name.clone()])?,
            Scope::DatabaseNode => {
                let part = |plan: &CenterPlan| {
                    Part { center: plan.center.as_str(), program: DATABASE }.to_string()
                };
                self.hit(layout)?.iter().map(part).collect()
            }
            _ => self.hit(layout)?.iter().map(|plan| plan.center.to_string()).collect(),
        };
        let has_lines = match self.fault {
            Kind::Silence | Kind::Cut | Kind::Lose | Kind::SlowLine | Kind::Delay => true,
            Kind::Kill | Kind::Pause | Kind::SlowDisk | Kind::FullDisk | Kind::Skew => false,
        };
        if has_lines && layout.subnet.is_none() {
            let code = errors::DRILL_NETWORK;
            bail!("{code}: centers share one network. {}", code.remedy());
        }
        let alone = match self.scope {
            Scope::City | Scope::Center | Scope::Leader => true,
            Scope::Process if self.name == STORE => !has_lines && self.fault != Kind::Skew,
            Scope::Process | Scope::DatabaseNode => match self.fault {
                Kind::Kill | Kind::Pause | Kind::SlowDisk | Kind::Silence => true,
                Kind::Cut => self.to.is_empty(),
                Kind::Skew => clock::is_of(&names),
                Kind::Lose | Kind::SlowLine | Kind::Delay | Kind::FullDisk => false,
            },
        };
        if !alone {
            let code = errors::DRILL_TARGET;
            let (kind, name) = (self.fault, &self.name);
            bail!(
                "{code}: {kind} cannot be done to {name} alone: that is its center's. {}",
                code.remedy()
            );
        }
        let cut = |centers, direction, loss_per_mille| -> anyhow::Result<Fault> {
            let peers = self.peers(layout)?;
            Ok(Fault::Cut(Cut { centers, peers, direction, loss_per_mille }))
        };
        let direction = self.direction.unwrap_or(Direction::Both);
        match self.fault {
            Kind::Kill => Ok(Fault::Kill { names }),
            Kind::Pause => Ok(Fault::Pause { names }),
            Kind::Silence => cut(names, Direction::Both, ALL),
            Kind::Cut => cut(names, direction, ALL),
            Kind::Lose => cut(names, direction, self.percent.unwrap_or(100).min(100) * 10),
            Kind::SlowLine => Ok(Fault::SlowLine { names, kbit: self.kbit.unwrap_or(KBIT) }),
            Kind::Delay => Ok(Fault::Delay(Delay {
                centers: names,
                peers: self.peers(layout)?,
                each_way_ms: self.delay_ms.unwrap_or(DELAY_MS),
                jitter_ms: self.jitter_ms.unwrap_or(JITTER_MS),
            })),
            Kind::SlowDisk => Ok(Fault::SlowDisk { names, writes: self.writes.unwrap_or(WRITES) }),
            Kind::FullDisk => Ok(Fault::FullDisk { names }),
            Kind::Skew => Ok(Fault::Skew { names, seconds: self.skew_s.unwrap_or(SKEW_S) }),
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
                (false, false) => return Err(not_here(name)),
            }
        }
        Ok(peers)
    }

    /// Whether what is hit is lost to all others, so that its shards must move.
    #[must_use]
    pub fn moves_shards(&self) -> bool {
        match self.fault {
            _ if self.is_waited_out() => false,
            Kind::Kill | Kind::Pause | Kind::Silence => true,
            Kind::Cut => self.to.is_empty(),
            Kind::Lose | Kind::SlowLine | Kind::Delay => false,
            Kind::SlowDisk | Kind::FullDisk | Kind::Skew => false,
        }
    }

    /// Whether service need not be whole before it is over: the seconds that must
    /// hold come after the healing.
    #[must_use]
    pub fn is_waited_out(&self) -> bool {
        matches!(self.scope, Scope::Process | Scope::DatabaseNode)
    }

    /// Whether all payments may have to wait: nobody takes over from the process
    /// that stands for the database, and a group of databases may stand still
    /// until it agrees who is left.
    #[must_use]
    pub fn stops_all(&self) -> bool {
        match self.scope {
            Scope::City | Scope::Center | Scope::Leader => false,
            Scope::Process => self.name == STORE,
            Scope::DatabaseNode => true,
        }
    }

    /// Whether it is to be seen what happens when the log needs room and there is
    /// none.
    #[must_use]
    pub fn fills_the_log(&self) -> bool {
        self.fault == Kind::FullDisk && self.scope == Scope::Process
    }

    /// How long a fault lasts that moves no shard.
    #[must_use]
    pub fn lasts_s(&self) -> u64 {
        self.lasts_s.unwrap_or(if self.stops_all() { STOPS_S } else { LASTS_S })
    }

    /// What is expected; the drill shows whether it is so.
    #[must_use]
    pub fn hypothesis(&self) -> String {
        let nothing = "no acknowledged payment is lost, none is made twice";
        if self.fills_the_log() {
            format!("what needs room is refused, and taken once there is some; {nothing}")
        } else if self.scope == Scope::DatabaseNode {
            format!("payments wait until the database goes on without it; {nothing}")
        } else if self.scope == Scope::Process && self.name != STORE {
            format!("its users' payments wait until it is back, or are served elsewhere; {nothing}")
        } else if self.stops_all() {
            format!("payments wait while it lasts, and go on when it is over; {nothing}")
        } else if self.moves_shards() {
            format!("its shards are served elsewhere and service is whole again; {nothing}")
        } else if self.fault == Kind::Delay {
            format!("payments take longer and go on where they are, nothing fails over; {nothing}")
        } else {
            format!("payments go on in all shards, wherever they are served; {nothing}")
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Kill => "kill",
            Kind::Pause => "pause",
            Kind::Silence => "silence",
            Kind::Cut => "cut",
            Kind::Lose => "lose",
            Kind::SlowLine => "slow-line",
            Kind::Delay => "delay",
            Kind::SlowDisk => "slow-disk",
            Kind::FullDisk => "full-disk",
            Kind::Skew => "skew",
        })
    }
}

/// `cut center east-1 out to store`.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            Scope::City => "city",
            Scope::Center => "center",
            Scope::Leader => "leader",
            Scope::Process => "process",
            Scope::DatabaseNode => "database-node",
        };
        write!(f, "{} {scope} {}", self.fault, self.name)?;
        if let Some(direction) = self.direction {
            write!(f, " {direction}")?;
        }
        if !self.to.is_empty() {
            write!(f, " to {}", self.to.join(","))?;
        }
        let figures = [
            self.percent.map(|percent| format!("{percent}%")),
            self.kbit.map(|kbit| format!("{kbit} kbit/s")),
            self.delay_ms.map(|delay_ms| format!("{delay_ms} ms")),
            self.jitter_ms.map(|jitter_ms| format!("+{jitter_ms} ms")),
            self.writes.map(|writes| format!("{writes} writes/s")),
            self.skew_s.map(|seconds| format!("{seconds:+} s")),
        ];
        figures.iter().flatten().try_for_each(|figure| write!(f, " {figure}"))
    }
}

fn not_here(name: &str) -> anyhow::Error {
    let code = errors::DRILL_TARGET;
    anyhow::anyhow!("{code}: {name} is not here. {}", code.remedy())
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

        let long = Spec { fault: Kind::Delay, direction: None, delay_ms: Some(40), ..spec };
        let Fault::Delay(delay) = long.fault(&layout).expect("a fault") else { panic!("a delay") };
        assert_eq!((delay.each_way_ms, delay.jitter_ms), (40, JITTER_MS));
        assert_eq!(delay.peers, ["south-1", "south-2", "store"]);
        assert_eq!(long.to_string(), "delay city east to south,store 40 ms");
        assert!(!long.moves_shards());
    }

    #[test]
    fn the_leader_is_the_center_that_holds_the_lease() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let spec = Spec::new(Kind::Kill, Scope::Leader, "controllers".into());
        let now = spec.led_by("east-1-538d1ff1e227b98a");
        assert_eq!(spec.to_string(), "kill leader controllers");
        assert_eq!(now.fault(&layout).expect("a fault").names(), ["east-1"]);
        assert_eq!(spec.hit(&layout).expect("centers").len(), 5, "any of them may lead");
    }

    #[test]
    fn nobody_takes_over_from_the_process_that_stands_for_the_database() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let spec = Spec::new(Kind::FullDisk, Scope::Process, STORE.into());
        assert_eq!(spec.fault(&layout).expect("a fault").names(), [STORE]);
        assert!(spec.hit(&layout).expect("no center").is_empty() && !spec.moves_shards());
        for (kind, name) in [
            (Kind::Kill, "east-1"),
            (Kind::Kill, "east-1/"),
            (Kind::Kill, "nowhere/ledger"),
            (Kind::Skew, STORE),
            (Kind::Skew, "east-1/guardian"),
            (Kind::FullDisk, "east-1/ledger"),
        ] {
            let spec = Spec::new(kind, Scope::Process, name.into());
            let error = spec.fault(&layout).expect_err("no such process").to_string();
            assert!(error.contains("PLS0702"), "{error}");
        }
    }

    #[test]
    fn one_process_of_a_center_is_hit_and_not_the_others() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let ledger = Spec::new(Kind::Pause, Scope::Process, "east-1/ledger".into());
        let fault = ledger.fault(&layout).expect("a fault");
        assert_eq!(fault.names(), ["east-1/ledger"]);
        let part = Part { center: "east-1", program: "ledger" };
        assert_eq!(fault.parts().collect::<Vec<_>>(), [part]);
        assert_eq!(ledger.hit(&layout).expect("its center")[0].center.as_str(), "east-1");
        assert!(!ledger.takes_edges() && !ledger.stops_all() && !ledger.moves_shards());
        let server = Spec { name: "east-1/server".into(), ..ledger.clone() };
        assert!(server.takes_edges(), "the edge is in it");

        let node = Spec::new(Kind::Kill, Scope::DatabaseNode, "west-1".into());
        assert_eq!(node.to_string(), "kill database-node west-1");
        assert_eq!(node.fault(&layout).expect("a fault").names(), ["west-1/database"]);
        assert!(node.stops_all() && !node.takes_edges() && !node.moves_shards());
        let nobody = Spec { name: "north-1".into(), ..node };
        assert!(nobody.fault(&layout).is_err());
    }

    #[test]
    fn lines_that_are_not_there_cannot_be_cut() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let spec = Spec::new(Kind::Silence, Scope::City, "east".into());
        let error = spec.fault(&layout).expect_err("one network").to_string();
        assert!(error.contains("PLS0705") && error.contains("--network namespaces"), "{error}");
    }
}
