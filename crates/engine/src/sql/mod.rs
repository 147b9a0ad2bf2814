//! The engine on a database that several processes share.

mod database;

pub use database::{
    Append, CELL_NAME_BYTES_MAX, Cell, Connection, Database, Failure, LogRow, Mark, Piece, Stand,
};
