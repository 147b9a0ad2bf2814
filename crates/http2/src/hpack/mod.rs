//! Header compression (RFC 7541).

mod decode;
mod encode;
mod huffman;
mod integer;
mod table;

pub(crate) use decode::{Decoder, Malformed};
pub(crate) use encode::Encoder;
pub(crate) use table::{Entry, Kind};
