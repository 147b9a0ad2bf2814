//! Guardians over real servers.

mod books;
mod oceanbase;
mod replicas;
