//! A door's levels as people look at them: metrics, and kube-apiserver's tables
//! under `/debug/api_priority_and_fairness`.

use std::{fmt::Write as _, sync::atomic::Ordering::Relaxed};

use super::{
    plan::Plan,
    queues::Refusal,
    tally::{BUCKETS_S, Tally},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    Levels,
    Queues,
    Flows,
}

// === impl Dump ===

impl Dump {
    /// By the last part of its path.
    pub fn parse(name: &str) -> Option<Dump> {
        match name {
            "dump_priority_levels" => Some(Dump::Levels),
            "dump_queues" => Some(Dump::Queues),
            "dump_requests" => Some(Dump::Flows),
            _ => None,
        }
    }
}

/// One table, a line each.
pub fn dump(plan: &Plan, what: Dump) -> String {
    let mut out = String::new();
    // Writing into a text never fails.
    let _ = match what {
        Dump::Levels => levels(plan, &mut out),
        Dump::Queues => queues(plan, &mut out),
        Dump::Flows => flows(plan, &mut out),
    };
    out
}

type Written = std::fmt::Result;

fn levels(plan: &Plan, out: &mut String) -> Written {
    writeln!(
        out,
        "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, \
         ExecutingRequests, DispatchedRequests, RejectedRequests, TimedoutRequests, \
         CancelledRequests"
    )?;
    for level in plan.levels() {
        let flows = plan.flows().iter().filter(|flow| flow.level.name == level.name);
        let sum = |of: fn(&Tally) -> u64| flows.clone().map(|flow| of(&flow.tally)).sum::<u64>();
        let executing = sum(|tally| tally.executing.load(Relaxed));
        let waiting = sum(|tally| tally.waiting.load(Relaxed));
        let dispatched = sum(|tally| tally.dispatched.load(Relaxed));
        let timed_out = sum(|tally| tally.time_out.load(Relaxed));
        let refused = sum(|tally| {
            [Refusal::NoSeat, Refusal::QueueFull, Refusal::TimeOut]
                .map(|why| tally.of(why).load(Relaxed))
                .iter()
                .sum()
        });
        writeln!(
            out,
            "{}, {}, {}, false, {waiting}, {executing}, {dispatched}, {refused}, {timed_out}, \
             {timed_out}",
            level.name,
            level.glance().count.active_queues,
            executing + waiting == 0,
        )?;
    }
    Ok(())
}

fn queues(plan: &Plan, out: &mut String) -> Written {
    writeln!(
        out,
        "PriorityLevelName, Index, PendingRequests, ExecutingRequests, PendingSeats, NextDispatchR"
    )?;
    for level in plan.levels() {
        for (index, (waiting, executing, seats, start)) in level.rows().into_iter().enumerate() {
            let name = &level.name;
            writeln!(out, "{name}, {index}, {waiting}, {executing}, {seats}, {start:.6}ss")?;
        }
    }
    Ok(())
}

/// kube-apiserver shows every request; who they are is the audit log's to tell,
/// and how many of which schema is enough to see what is held up.
fn flows(plan: &Plan, out: &mut String) -> Written {
    writeln!(out, "PriorityLevelName, FlowSchemaName, WaitingRequests, ExecutingRequests, Seats")?;
    for flow in plan.flows() {
        let Tally { waiting, executing, seats, .. } = &*flow.tally;
        let [waiting, executing, seats] =
            [waiting, executing, seats].map(|count| count.load(Relaxed));
        let (level, schema) = (&flow.level.name, &flow.schema.name);
        writeln!(out, "{level}, {schema}, {waiting}, {executing}, {seats}")?;
    }
    Ok(())
}

/// Those of kube-apiserver's that dashboards and its conformance suite read.
pub fn metrics(plan: &Plan) -> String {
    let mut out = String::new();
    let _ = of_levels(plan, &mut out).and_then(|()| of_flows(plan, &mut out));
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> Written {
    writeln!(out, "# HELP apiserver_flowcontrol_{name} {help}")?;
    writeln!(out, "# TYPE apiserver_flowcontrol_{name} {kind}")
}

#[allow(clippy::cast_precision_loss)]
fn of_levels(plan: &Plan, out: &mut String) -> Written {
    let glances: Vec<_> = plan.levels().map(|level| (&level.name, level.glance())).collect();
    type Column = (&'static str, &'static str, fn(&super::level::Glance) -> f64);
    let columns: [Column; 7] = [
        ("nominal_limit_seats", "A level's seats by its shares.", |it| it.limits.nominal as f64),
        ("lower_limit_seats", "Those it never lends.", |it| it.limits.least as f64),
        ("upper_limit_seats", "Those with all it may borrow.", |it| it.limits.most as f64),
        ("current_limit_seats", "Those it has now.", |it| it.count.limit as f64),
        ("demand_seats_high_watermark", "The most wanted in the last period.", |it| {
            it.seen.highest as f64
        }),
        ("demand_seats_average", "Wanted in the last period.", |it| it.seen.average),
        ("demand_seats_smoothed", "Wanted in the last periods.", |it| it.seen.smoothed),
    ];
    for (name, help, value) in columns {
        head(out, name, "gauge", help)?;
        for (level, glance) in &glances {
            let value = value(glance);
            writeln!(out, "apiserver_flowcontrol_{name}{{priority_level=\"{level}\"}} {value}")?;
        }
    }
    Ok(())
}

fn of_flows(plan: &Plan, out: &mut String) -> Written {
    type Column = (&'static str, &'static str, &'static str, fn(&Tally) -> u64);
    let columns: [Column; 4] = [
        ("dispatched_requests_total", "counter", "Requests that were given seats.", |tally| {
            tally.dispatched.load(Relaxed)
        }),
        ("current_inqueue_requests", "gauge", "Requests that wait.", |tally| {
            tally.waiting.load(Relaxed)
        }),
        ("current_executing_requests", "gauge", "Requests being served.", |tally| {
            tally.executing.load(Relaxed)
        }),
        ("current_executing_seats", "gauge", "Seats they have.", |tally| tally.seats.load(Relaxed)),
    ];
    let labels = |flow: &super::plan::Flow| {
        let (level, schema) = (&flow.level.name, &flow.schema.name);
        format!("priority_level=\"{level}\",flow_schema=\"{schema}\"")
    };
    for (name, kind, help, value) in columns {
        head(out, name, kind, help)?;
        for flow in plan.flows() {
            let (labels, value) = (labels(flow), value(&flow.tally));
            writeln!(out, "apiserver_flowcontrol_{name}{{{labels}}} {value}")?;
        }
    }
    let name = "rejected_requests_total";
    head(out, name, "counter", "Requests that were refused.")?;
    for flow in plan.flows() {
        for why in [Refusal::NoSeat, Refusal::QueueFull, Refusal::TimeOut] {
            let (labels, reason) = (labels(flow), why.as_str());
            let value = flow.tally.of(why).load(Relaxed);
            writeln!(out, "apiserver_flowcontrol_{name}{{{labels},reason=\"{reason}\"}} {value}")?;
        }
    }
    let name = "request_wait_duration_seconds";
    head(out, name, "histogram", "How long requests waited that were served.")?;
    for flow in plan.flows() {
        let labels = format!("{},execute=\"true\"", labels(flow));
        let mut sum = 0;
        let buckets = BUCKETS_S.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in buckets.zip(&flow.tally.waited) {
            sum += count.load(Relaxed);
            writeln!(out, "apiserver_flowcontrol_{name}_bucket{{{labels},le=\"{bound}\"}} {sum}")?;
        }
        let waited_us = flow.tally.waited_us.load(Relaxed);
        let (whole, part) = (waited_us / 1_000_000, waited_us % 1_000_000);
        writeln!(out, "apiserver_flowcontrol_{name}_sum{{{labels}}} {whole}.{part:06}")?;
        writeln!(out, "apiserver_flowcontrol_{name}_count{{{labels}}} {sum}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_and_schema_is_shown() {
        let plan = Plan::by_default(600);
        let text = metrics(&plan);
        for line in [
            "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"global-default\"} 49",
            "apiserver_flowcontrol_dispatched_requests_total{priority_level=\"exempt\",\
             flow_schema=\"probes\"} 0",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}");
        }
        let table = dump(&plan, Dump::Levels);
        assert!(table.contains("\ncatch-all, 0, true, false, 0, 0, 0, 0, 0, 0\n"), "{table}");
        assert_eq!(dump(&plan, Dump::Queues).lines().count(), 1 + 3 * 128 + 2 * 64 + 16);
        assert_eq!(dump(&plan, Dump::Flows).lines().count(), 12);
    }
}
