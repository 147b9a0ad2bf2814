//! A kind of a test's own and the controller that serves it.

mod painter;
mod shelf;

pub use painter::{Diary, MANAGER, Painter};
pub use shelf::Shelf;
