//! What a request asks, parsed once: its place, its options, its body.

pub mod accept;
pub mod body;
pub mod decode;
pub mod options;
pub mod path;
pub mod query;
pub mod yaml;
