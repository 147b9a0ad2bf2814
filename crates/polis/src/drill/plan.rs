//! A plan of drills: a game day in a file.

use std::{io::Write, path::Path};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::order::Spec;
use crate::layout::Layout;

/// Drills of one plan: days of them.
const DRILLS_MAX: u32 = 10_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// What to type back; the faults' own names unless given.
    pub name: Option<String>,
    /// Payments a second.
    pub rate: u32,
    /// Payers.
    pub users: u32,
    /// Seconds after which a fault that is not recovered from is healed.
    pub abort_after_s: u64,
    /// End the day at the first drill that fails. It always ends when a payment
    /// was lost or made twice.
    pub stop_on_failure: bool,
    /// How often all steps are carried out.
    pub repeat: u32,
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    #[serde(flatten)]
    pub spec: Spec,
    /// How often, one after the other.
    #[serde(default = "once")]
    pub repeat: u32,
    /// Seconds of rest after each.
    #[serde(default, rename = "wait-s")]
    pub wait_s: u64,
}

/// Keys of a step. A key that is not known would be passed over in silence,
/// since a step is two things in one table.
const STEP_KEYS: [&str; 14] = [
    "fault",
    "scope",
    "name",
    "to",
    "direction",
    "percent",
    "kbit",
    "delay-ms",
    "jitter-ms",
    "writes",
    "skew-s",
    "lasts-s",
    "repeat",
    "wait-s",
];

fn once() -> u32 {
    1
}

fn check_keys(text: &str) -> anyhow::Result<()> {
    let table: toml::Table = text.parse()?;
    let steps = table.get("step").and_then(toml::Value::as_array).into_iter().flatten();
    let keys = steps.filter_map(toml::Value::as_table).flat_map(toml::Table::keys);
    match keys.into_iter().find(|key| !STEP_KEYS.contains(&key.as_str())) {
        Some(key) => bail!("a step has no key {key:?}; it has {}", STEP_KEYS.join(", ")),
        None => Ok(()),
    }
}

// === impl Plan ===

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            name: None,
            rate: 500,
            users: 1000,
            abort_after_s: 60,
            stop_on_failure: false,
            repeat: 1,
            steps: Vec::new(),
        }
    }
}

impl Plan {
    pub fn read(path: &Path) -> anyhow::Result<Plan> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Plan::parse(&text).with_context(|| {
            let code = errors::DRILL_PLAN;
            format!("{code}: {} is no plan", path.display())
        })
    }

    fn parse(text: &str) -> anyhow::Result<Plan> {
        let plan: Plan = toml::from_str(text)?;
        check_keys(text)?;
        if plan.steps.is_empty() {
            bail!("it has no [[step]]");
        }
        if !(1..=600).contains(&plan.abort_after_s) {
            bail!("abort-after-s is {}, and must be 1 to 600", plan.abort_after_s);
        }
        let count = plan.steps.iter().map(|step| u64::from(step.repeat)).sum::<u64>();
        if !(1..=u64::from(DRILLS_MAX)).contains(&(count * u64::from(plan.repeat))) {
            bail!(
                "it has {count} drills in {} rounds; 1 to {DRILLS_MAX} are possible",
                plan.repeat
            );
        }
        Ok(plan)
    }

    /// How many drills it has.
    #[must_use]
    pub fn drills(&self) -> usize {
        let each: u32 = self.steps.iter().map(|step| step.repeat).sum();
        (each * self.repeat) as usize
    }

    /// What is typed back to confirm it.
    #[must_use]
    pub fn named(&self) -> String {
        let mut names: Vec<_> = self.steps.iter().map(|step| step.spec.name.as_str()).collect();
        names.dedup();
        self.name.clone().unwrap_or_else(|| names.join(","))
    }

    /// What would be done, step by step.
    pub fn show(&self, layout: &Layout, out: &mut impl Write) -> anyhow::Result<()> {
        let Plan { rate, users, abort_after_s, repeat, .. } = self;
        writeln!(out, "{rate} payments a second of {users} payers, {repeat} rounds of:")?;
        for step in &self.steps {
            step.spec.fault(layout)?;
            let hit = step.spec.hit(layout)?;
            let shards: usize = hit.iter().map(|plan| plan.shards.iter().count()).sum();
            writeln!(out, "  {} times {}: {shards} shards at home there", step.repeat, step.spec)?;
            writeln!(out, "    expected: {}", step.spec.hypothesis())?;
        }
        writeln!(
            out,
            "each is healed at once when an acknowledged payment is not found, and after \
             {abort_after_s} s at the latest"
        )?;
        Ok(())
    }
}

// === impl Step ===

impl Step {
    #[must_use]
    pub fn once(spec: Spec) -> Step {
        Step { spec, repeat: once(), wait_s: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_as_it_is_documented() {
        let plan = Plan::parse(
            r#"
            name = "autumn"
            rate = 100
            users = 200
            repeat = 2
            [[step]]
            fault = "silence"
            scope = "city"
            name = "east"
            repeat = 3
            wait-s = 5
            [[step]]
            fault = "cut"
            scope = "center"
            name = "east-1"
            direction = "out"
            to = ["store"]
            lasts-s = 20
            "#,
        );
        let plan = plan.expect("a plan");
        assert_eq!((plan.drills(), plan.named().as_str(), plan.abort_after_s), (8, "autumn", 60));
        let shown: Vec<_> = plan.steps.iter().map(|step| step.spec.to_string()).collect();
        assert_eq!(shown, ["silence city east", "cut center east-1 out to store"]);
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_said() {
        let step = "[[step]]\nfault = \"kill\"\nscope = \"city\"\nname = \"east\"\n";
        for (text, word) in [
            ("rate = 1\n".to_owned(), "no [[step]]"),
            (format!("rats = 1\n{step}"), "rats"),
            (format!("{step}lasts = 5\n"), "lasts"),
            (format!("repeat = 0\n{step}"), "0 rounds"),
            (format!("abort-after-s = 0\n{step}"), "abort-after-s"),
            ("[[step]]\nfault = \"flood\"\nscope = \"city\"\nname = \"e\"\n".into(), "flood"),
        ] {
            let error = format!("{:#}", Plan::parse(&text).expect_err("no plan"));
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
