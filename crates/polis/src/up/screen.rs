//! What `polis up` tells the person at the terminal.

use std::io::IsTerminal;

use tokio::time::Instant;

use crate::{
    data::DataDir,
    layout::{CenterPlan, Layout},
};

pub struct Screen {
    started: Instant,
    /// What is being waited for.
    step: String,
    /// Escape sequences that colour a terminal; empty elsewhere.
    good: &'static str,
    bad: &'static str,
    plain: &'static str,
}

// === impl Screen ===

impl Screen {
    #[must_use]
    pub fn new() -> Screen {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let [good, bad, plain] =
            if colours { ["\x1b[32m", "\x1b[31m", "\x1b[0m"] } else { [""; 3] };
        Screen { started: Instant::now(), step: "starting".into(), good, bad, plain }
    }

    pub fn begin(&mut self, step: &str) {
        self.step = step.into();
    }

    #[must_use]
    pub fn step(&self) -> &str {
        &self.step
    }

    pub fn done(&self, what: &str) {
        let Screen { started, good, plain, .. } = self;
        println!("{good}ok{plain} {:>5.1} s  {what}", started.elapsed().as_secs_f32());
    }

    pub fn ended(&self, name: &str, status: &str, log: &str) {
        let Screen { bad, plain, .. } = self;
        println!("{bad}{name} ended{plain} ({status}); starting it again. Its log: {log}");
    }

    pub fn healed(&self, fault: &str) {
        let Screen { bad, plain, .. } = self;
        println!("{bad}healed{plain} a fault that nobody healed in its time: {fault}");
    }

    pub fn stopping(&self) {
        println!("\nstopping: centers, then the store");
    }

    pub fn stopped(&self, data: &DataDir) {
        println!("stopped; the data is kept in {}", data.path().display());
    }

    /// What runs where, and what to try next.
    pub fn ready(&self, layout: &Layout, data: &DataDir) {
        let Screen { good, plain, started, .. } = self;
        println!("{good}Polis is up{plain} after {:.1} s\n", started.elapsed().as_secs_f32());
        println!(
            "  {:<8} {:<9} {:<6} {:<7} {:<24} API",
            "CITY", "CENTER", "UNIT", "SHARDS", "EDGE"
        );
        for plan in &layout.centers {
            println!(
                "  {:<8} {:<9} {:<6} {:<7} {:<24} https://{}",
                plan.city.as_str(),
                plan.center.as_str(),
                plan.unit.as_str(),
                plan.shards.to_string(),
                format!("http://{}", plan.edge()),
                plan.api()
            );
        }
        let edge_of = |plan: Option<&CenterPlan>| {
            plan.map_or_else(String::new, |plan| plan.edge().to_string())
        };
        let (edge, last) = (edge_of(layout.centers.first()), edge_of(layout.centers.last()));
        let kubeconfig = data.kubeconfig();
        let flag = match data.path() == DataDir::new(crate::data::DEFAULT_DATA.as_ref()).path() {
            true => String::new(),
            false => format!(" --data {}", data.path().display()),
        };
        println!(
            "\nTry next:
  curl -s http://{edge}/v1/accounts -H 'polis-uid: 2088001234' \\
       -d '{{\"uid\":\"2088001234\",\"currency\":\"CNY\",\"opening_balance\":100000}}'
  curl -s http://{last}/v1/payments -H 'polis-uid: 2088001234' -H 'idempotency-key: order-1' \\
       -d '{{\"payer\":\"2088001234\",\"merchant\":\"m-1\",\"amount\":1250,\"currency\":\"CNY\"}}'
  polis status{flag}
  kubectl --kubeconfig {} get units,centers,shardmaps,pods
  polis drill kill city east{flag}
Ctrl-C stops everything in order; the data stays.",
            kubeconfig.display()
        );
    }
}
