//! Users over real connections, and those who would like to be one.

mod client;
#[path = "../common/mod.rs"]
mod common;
#[path = "../estate/mod.rs"]
mod estate;

mod certificates;
mod logins;
mod replicas;
mod rights;
mod tokens;
