//! Sets of fields: who owns what, in the form `fieldsV1` that objects keep.

mod json;
mod path;
mod set;
mod step;

pub use path::Path;
pub use set::Fields;
pub(crate) use set::Node;
pub use step::Step;
