//! Why a stream was not understood.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the value ends after {at} bytes, in the middle")]
    Short { at: usize },
    #[error("{tag:#04x} at byte {at} begins no value here")]
    Unexpected { tag: u8, at: usize },
    #[error("byte {at} is no length of anything")]
    BadLength { at: usize },
    #[error("the string at byte {at} is not encoded as one")]
    BadText { at: usize },
    #[error("no class {0} was defined")]
    NoClass(i64),
    #[error("no value {0} to refer to")]
    NoReference(i64),
    #[error("nested more than {} deep", super::DEPTH_MAX)]
    TooDeep,
    #[error("more than {} classes", super::CLASSES_MAX)]
    TooManyClasses,
    #[error("longer than an index reaches")]
    TooLong,
}
