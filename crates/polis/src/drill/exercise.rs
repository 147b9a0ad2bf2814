//! One drill after the other: load, fault, wait, healing, proof.

use std::time::Duration;

use anyhow::Context;
use client::Client;
use load::{Config, EdgeUrl, Load, Outcome, Record};
use tokio::{sync::mpsc, time::Instant};

use super::{
    estate, fill, keep,
    machine::Machine,
    measure::{self, Injected},
    order::Spec,
    plan::{Plan, Step},
    report::{Change, Drill, Injection, Kept, Rto},
    series,
    timeline::{Hit, Timeline},
};
use crate::{
    connect,
    data::DataDir,
    layout::{CenterPlan, Layout},
    load::{edges, new_run_id},
    pki::Pki,
    up::control::{Request, Session},
};

/// Steady load before the fault: the rate before is taken over 5 s of it.
const WARM_UP: Duration = Duration::from_secs(6);
/// How much longer than it should a fault may last before `up` heals it: the
/// seconds that must hold, and time to say so.
const HEAL_MARGIN: Duration = Duration::from_secs(30);
/// Longest wait for centers to come back and shards to go home.
const RETURN_MAX: Duration = Duration::from_secs(120);
/// Load that goes on after everything is home.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// Everything that stays the same from one drill to the next.
pub struct Exercise {
    plan: Plan,
    data: DataDir,
    layout: Layout,
    edges: Vec<EdgeUrl>,
}

// === impl Exercise ===

impl Exercise {
    /// Checks that every step can be carried out here, and may be.
    pub async fn prepare(plan: Plan, data: DataDir) -> anyhow::Result<Exercise> {
        let layout = data.layout()?;
        let mut session = Session::open(&data.control_socket()).await?;
        let processes = session.ask(&Request::List).await?;
        for step in &plan.steps {
            estate::check_here(&step.spec.fault(&layout)?, &processes)?;
            let hit = step.spec.hit(&layout)?;
            let client = away_from(&hit, &layout, &data)?;
            let concerned = if step.spec.stops_all() { &layout.centers } else { &hit };
            estate::check_allowed(&client, concerned).await?;
        }
        Ok(Exercise { plan, edges: edges(&data)?, data, layout })
    }

    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All rounds of all steps, into `drills`. Ends early when a payment was
    /// lost or made twice: whatever follows would only add to the damage.
    pub async fn all(&self, drills: &mut Vec<Drill>) -> anyhow::Result<()> {
        let count = self.plan.drills();
        for step in (0..self.plan.repeat).flat_map(|_| &self.plan.steps) {
            for _ in 0..step.repeat {
                let shown = format!("drill {} of {count}: {}", drills.len() + 1, step.spec);
                let drill = self.once(step, &shown).await.with_context(|| shown.clone())?;
                let damage = drill.lost > 0 || drill.doubled > 0;
                let failed = !drill.passed();
                drills.push(drill);
                if damage || failed && self.plan.stop_on_failure {
                    eprintln!("{shown}: the rest is not carried out");
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_secs(step.wait_s)).await;
            }
        }
        Ok(())
    }

    async fn once(&self, step: &Step, shown: &str) -> anyhow::Result<Drill> {
        let say = |what: &str| eprintln!("{shown}: {what}");
        let spec = {
            let anyone = connect::estate(&self.layout, &Pki::new(&self.data.pki()))?;
            estate::well(&anyone, &self.layout, RETURN_MAX).await?;
            &estate::concrete(&anyone, &step.spec).await?
        };
        let hit = &spec.hit(&self.layout)?;
        let client = &away_from(hit, &self.layout, &self.data)?;
        let run = new_run_id();
        let history = self.data.reports().join(format!("drill-{run}.jsonl"));
        let split = estate::layout(client).await?;
        let config = Config {
            edges: self.edges.clone(),
            rate: self.plan.rate,
            duration: None,
            users: self.plan.users,
            run: run.clone(),
            give_up: Config::GIVE_UP,
            layout: split.clone(),
            history,
        };
        let (stop, stopped) = rt::drain::channel();
        let (load, mut seconds) = Load::prepare(config, stopped).await?;
        let (load, mut missing) = load.watched();
        tokio::spawn(async move { while seconds.recv().await.is_some() {} });
        let machine = Machine::watch(&self.data.reports()).context("watch the disk")?;
        say("load");
        let load_start = Instant::now();
        let load = tokio::spawn(load.run());
        let timeline =
            Timeline::start(client, estate::hit(client, hit, spec.stops_all()).await?).await;
        tokio::time::sleep_until(load_start + WARM_UP).await;
        let lost = estate::hit(client, hit, spec.stops_all()).await?;
        say("fault");
        let (fault_at, at_unix_ms) = (Instant::now(), keep::unix_ms());
        let outcome = self.inject_and_heal(client, spec, hit, &timeline, &mut missing, &say).await;
        tokio::time::sleep(COOL_DOWN).await;
        drop(stop);
        let load = load.await.context("run the load")??;
        let machine = machine.stalls(load.start);
        let healed = outcome?;
        say("checking every payment");
        let check = load::check(&self.edges, &load.records).await.context("check the payments")?;
        let listed = self.data.reports().join(format!("drill-{run}.present.jsonl"));
        keep::lines(&listed, &check.listed)?;
        let since = |at: Instant| micros(at.saturating_duration_since(load.start));
        let dead_edges: Vec<_> = (0..self.edges.len())
            .filter(|_| spec.takes_edges())
            .filter(|edge| hit.iter().any(|plan| plan.center == self.layout.centers[*edge].center))
            .collect();
        let injected = Injected {
            at_us: since(fault_at),
            lost: &lost.shards,
            dead_edges: &dead_edges,
            healed_us: since(healed.ready_at),
        };
        let recovery = measure::recovery(&load.records, &injected);
        let drill = Drill {
            fault: step.spec.to_string(),
            spec: spec.clone(),
            hypothesis: spec.hypothesis(),
            aborted: healed.abort.is_some(),
            abort: healed.abort,
            injected: Injection {
                at_unix_ms,
                at_us: injected.at_us,
                ordered_us: since(healed.ordered_at),
                healed_us: injected.healed_us,
                lost: lost.shards.to_string(),
                dead_edges: dead_edges.clone(),
            },
            rto_ms: phases(&recovery, &timeline, fault_at),
            slowest_ms: slowest(&load.records, &injected),
            acked: check.acked,
            present: check.present,
            lost: check.lost,
            doubled: check.doubled,
            unknown_resolved: check.unknown_resolved,
            unresolved: check.unresolved,
            edge_lost: measure::edge_lost(&load.records, &injected),
            unaffected_errors: measure::unaffected_errors(&load.records, &injected),
            affected_errors: open_on(&load.records, &lost),
            rate_before: recovery.rate_before,
            p99_before_ms: p99_before(&load.records, injected.at_us),
            return_ms: Some(millis(healed.home_at.saturating_duration_since(healed.ordered_at))),
            invariants: check.invariants,
            two_writers: series::two_writers(&load.records),
            files: Kept {
                history: format!("drill-{run}.jsonl"),
                present: format!("drill-{run}.present.jsonl"),
            },
            map: timeline
                .changes()
                .into_iter()
                .map(|(at, change)| Change { at_us: since(at), ..change })
                .collect(),
            seconds: series::seconds(&load.records, |shard| home_of(&self.layout, &split, shard)),
            findings: check.findings,
            machine,
        };
        let total = drill.rto_ms.total.map_or_else(|| "not seen".into(), |ms| format!("{ms} ms"));
        say(&format!("recovery {total}, {} acknowledged, {} lost", drill.acked, drill.lost));
        Ok(drill)
    }

    /// The fault, the wait for recovery, and the healing: the last in any case.
    async fn inject_and_heal(
        &self,
        client: &Client,
        spec: &Spec,
        hit: &[CenterPlan],
        timeline: &Timeline,
        missing: &mut mpsc::Receiver<String>,
        say: &impl Fn(&str),
    ) -> anyhow::Result<Healed> {
        let limit = Duration::from_secs(self.plan.abort_after_s);
        let lasts = Duration::from_secs(spec.lasts_s());
        let fault = spec.fault(&self.layout)?;
        let mut session = Session::open(&self.data.control_socket()).await?;
        let hold = Duration::from_secs(measure::HOLD_SECONDS + 2);
        let recovered = async {
            session.inject(&fault, limit.max(lasts) + HEAL_MARGIN).await?;
            if spec.fills_the_log() {
                let written = fill::until_refused(client).await?;
                say(&format!("no room after {} MiB more", written >> 20));
            }
            if !spec.moves_shards() {
                tokio::time::sleep(lasts).await;
            }
            let until = Instant::now() + limit;
            while spec.moves_shards() && timeline.moments().fenced.is_none() {
                if Instant::now() >= until {
                    return Ok(Some(format!("not recovered after {} s", limit.as_secs())));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if !spec.is_waited_out() {
                // The seconds that must hold, and one more for what is under way.
                tokio::time::sleep(hold).await;
            }
            anyhow::Ok(None)
        };
        let recovered = tokio::select! {
            recovered = recovered => recovered,
            Some(id) = missing.recv() => Ok(Some(format!("payment {id} was acknowledged and is gone"))),
        };
        say("healing");
        let ordered_at = Instant::now();
        session.heal(&fault).await.context("heal")?;
        let abort = recovered?;
        if let Some(why) = &abort {
            say(why);
        }
        estate::centers_ready(client, hit, RETURN_MAX).await?;
        let ready_at = Instant::now();
        estate::well(client, &self.layout, RETURN_MAX).await?;
        let home_at = Instant::now();
        if spec.fills_the_log() {
            fill::clear(client).await.context("clear what filled the log")?;
        }
        if spec.is_waited_out() && abort.is_none() {
            tokio::time::sleep(hold).await;
        }
        Ok(Healed { abort, ordered_at, ready_at, home_at })
    }
}

struct Healed {
    /// Why the fault was ended before its time.
    abort: Option<String>,
    ordered_at: Instant,
    /// The centers that were hit are up.
    ready_at: Instant,
    /// Every shard is home.
    home_at: Instant,
}

/// To the API where the fault is not: a paused API server answers nothing, and
/// its clients take seconds to notice.
fn away_from(hit: &[CenterPlan], layout: &Layout, data: &DataDir) -> anyhow::Result<Client> {
    let mut centers = layout.centers.clone();
    centers.sort_by_key(|plan| hit.iter().any(|hit| hit.center == plan.center));
    connect::through(&centers, &Pki::new(&data.pki()))
}

/// The unit that a shard is at home in, a part where its shard is.
fn home_of(layout: &Layout, split: &topology::Layout, shard: topology::Shard) -> String {
    let shard = split.buckets(shard).map_or(shard, |buckets| buckets.hundred());
    let home = layout.centers.iter().find(|plan| plan.shards.contains(shard));
    home.map_or_else(String::new, |plan| plan.unit.to_string())
}

fn phases(recovery: &measure::Recovery, timeline: &Timeline, fault_at: Instant) -> Rto {
    let moments = timeline.moments();
    let since = |at: Option<Instant>| at.map(|at| millis(at.saturating_duration_since(fault_at)));
    let step = |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?));
    let [detected, decided, fenced] =
        [moments.suspected, moments.decided, moments.fenced].map(since);
    let [rerouted, total] =
        [recovery.last_shard_us, recovery.total_us].map(|us| us.map(|us| us / 1000));
    Rto {
        total,
        detect: detected,
        decide: step(detected, decided),
        fence: step(decided, fenced),
        reroute: step(fenced, rerouted),
        hold: step(rerouted, total),
    }
}

fn open_on(records: &[Record], lost: &Hit) -> u64 {
    let open = |record: &&Record| {
        matches!(record.outcome, Outcome::Unknown | Outcome::NotSent)
            && lost.shards.contains(record.shard)
    };
    records.iter().filter(open).count() as u64
}

fn slowest(records: &[Record], injected: &Injected<'_>) -> Option<u64> {
    let meanwhile = injected.at_us..injected.healed_us;
    let acked = records.iter().filter(|record| record.outcome == Outcome::Acked);
    let hit = acked.filter(|record| meanwhile.contains(&record.due_us));
    hit.map(|record| record.latency_us() / 1000).max()
}

fn p99_before(records: &[Record], at_us: u64) -> f64 {
    let before = |record: &&Record| record.outcome == Outcome::Acked && record.end_us < at_us;
    let mut latencies: Vec<_> = records.iter().filter(before).map(Record::latency_us).collect();
    latencies.sort_unstable();
    let index = (latencies.len() * 99 / 100).min(latencies.len().saturating_sub(1));
    latencies.get(index).map_or(0.0, |us| *us as f64 / 1000.0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
