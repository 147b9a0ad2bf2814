//! Why there is no program, or no value.

use std::borrow::Cow;
use std::fmt;

use crate::issue::Issues;
use crate::types::Type;

/// Why a text is no program. Shown as Kubernetes shows it to the author.
#[derive(Clone, Debug, PartialEq)]
pub enum CompileError {
    Issues(Issues),
    /// A part that is constant has no value.
    Constant(EvalError),
    /// It gives something else than what was wanted.
    Result(Type),
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// Of the data: absorbed by what does not hang on it.
    Value(Cow<'static, str>),
    /// The budget of the call, or the one of the object, is spent.
    Budget,
}

// === impl CompileError ===

impl std::error::Error for CompileError {}

impl From<Issues> for CompileError {
    fn from(issues: Issues) -> CompileError {
        CompileError::Issues(issues)
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Issues(issues) => write!(f, "compilation failed: {issues}"),
            CompileError::Constant(error) => write!(f, "program instantiation failed: {error}"),
            CompileError::Result(wanted) => {
                let article = if *wanted == Type::Text { "a string" } else { "a bool" };
                write!(f, "cel expression must evaluate to {article}")
            }
        }
    }
}

// === impl EvalError ===

impl EvalError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> EvalError {
        EvalError::Value(message.into())
    }

    pub(crate) fn no_such_overload() -> EvalError {
        EvalError::new("no such overload")
    }
}

impl std::error::Error for EvalError {}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Value(message) => f.write_str(message),
            EvalError::Budget => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}
