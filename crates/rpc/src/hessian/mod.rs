//! Hessian, the serialization inside Bolt and Dubbo: values found by skipping,
//! and the few that a proxy writes.
//!
//! Sources: the grammar of Hessian 2.0 (`hessian.caucho.com/doc`), and where it
//! is silent the readers that are deployed, sofa-hessian 3.5 and hessian-lite 4.
//!
//! There are two dialects, which share numbers and short strings and little
//! else: the byte `0x4a` is a reference in one and a date in the other. Only
//! who carries the value knows which it is: Dubbo speaks [`Dialect::Final`];
//! SOFARPC speaks [`Dialect::Draft`] with sofa-hessian 3, and the final one with
//! sofa-hessian 4.
//!
//! Lengths of strings count UTF-16 units, and what lies beyond the basic plane
//! is written as two surrogates of three bytes each: nearly UTF-8, not quite.

mod error;
mod reader;
mod tag;
mod text;
mod value;
mod writer;

pub use error::Error;
pub use reader::{Entry, Reader};
pub use value::{Node, Value};
pub use writer::Writer;

/// Deepest nesting that is followed. The deployed readers recurse and give up
/// at some thousands; what is deeper than this is no business call.
pub const DEPTH_MAX: usize = 512;
/// Classes that one stream may define.
pub const CLASSES_MAX: usize = 4096;
/// Values that references can be followed to, in the order of the stream; 4
/// bytes each while a call is looked at. Large lists of objects have more, but
/// what routes a call stands at its beginning.
pub const REFERENCES_MAX: usize = 16_384;
/// Longest string that is given out as text: keys of routing are short, and
/// messages of errors are cut by whoever shows them.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Which of the two formats a stream is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// As Caucho's Hessian 3.1 wrote it before the specification was done.
    Draft,
    /// As specified, from Hessian 3.2 on.
    Final,
}
