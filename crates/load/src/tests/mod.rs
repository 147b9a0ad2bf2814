//! The load against edges that fail on purpose.

mod check;
mod fake;
mod run;
