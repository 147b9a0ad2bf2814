//! How a measurement is shown: each run as it ends, for whoever watches, and all
//! of them at the end.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use serde::Serialize;

use crate::{
    output::{self, Format},
    stop::INTERRUPTED,
};

pub struct Sheet<'a, Run> {
    pub format: Format,
    pub header: &'a [&'a str],
    pub row: fn(&Run) -> Vec<String>,
}

// === impl Sheet ===

impl<Run> Sheet<'_, Run> {
    /// Nobody watches a program that reads JSON.
    pub fn ended(&self, run: &Run) {
        if self.format == Format::Table || io::stderr().is_terminal() {
            eprintln!("{}", (self.row)(run).join("  "));
        }
    }

    /// A report and its runs, unless it was stopped before its end.
    pub fn print(&self, done: Option<(&impl Serialize, &[Run])>) -> anyhow::Result<ExitCode> {
        let Some((report, runs)) = done else {
            eprintln!("\nstopped: what it wrote is removed");
            return Ok(ExitCode::from(INTERRUPTED));
        };
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
            Format::Table => {
                let rows: Vec<_> = runs.iter().map(self.row).collect();
                output::table(&mut out, self.header, &rows)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
