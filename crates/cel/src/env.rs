//! What expressions are compiled against.

use std::sync::Arc;

use crate::error::CompileError;
use crate::program::Program;
use crate::stack::with_room;
use crate::syntax;
use crate::types::declared::{Decl, Field, Object};
use crate::types::{Type, check};

/// No shorter text is nested so deeply that it takes a stack of its own.
const SHALLOW_BYTES_MAX: usize = 400;

/// Which functions there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Features {
    /// What Kubernetes 1.37 gives to expressions that it stores.
    #[default]
    Kubernetes,
    /// And CEL's extensions that Kubernetes leaves out: `math`, `base64`,
    /// `cel.bind` and what strings lack.
    Extended,
}

/// The variables that expressions see, and the functions they may call.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: Vec<(Arc<str>, Arc<Decl>)>,
    features: Features,
}

// === impl Env ===

impl Env {
    #[must_use]
    pub fn new() -> Env {
        Env::default()
    }

    #[must_use]
    pub fn with_features(mut self, features: Features) -> Env {
        self.features = features;
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, decl: Arc<Decl>) -> Env {
        self.variables.retain(|(known, _)| **known != *name);
        self.variables.push((name.into(), decl));
        self
    }

    /// A program, or everything that is wrong with the text.
    pub fn compile(&self, text: &str) -> Result<Program, CompileError> {
        with_room(text.len() > SHALLOW_BYTES_MAX, || {
            let tree = syntax::parse(text, self.features == Features::Extended)?;
            let checked = check(self, text, tree)?;
            Program::new(self.clone(), checked)
        })
    }

    /// The same, and its value must be of a type.
    pub fn compile_to(&self, text: &str, wanted: &Type) -> Result<Program, CompileError> {
        let program = self.compile(text)?;
        if program.result_type() == wanted {
            return Ok(program);
        }
        Err(CompileError::Result(wanted.clone()))
    }

    pub(crate) fn features(&self) -> Features {
        self.features
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Arc<Decl>> {
        self.variables().find(|(known, _)| *known == name).map(|(_, decl)| decl)
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &Arc<Decl>)> {
        self.variables.iter().map(|(name, decl)| (&**name, decl))
    }

    /// A field by its identifier; words that are reserved need no escape where
    /// a field is selected.
    pub(crate) fn field<'o>(&self, object: &'o Object, identifier: &str) -> Option<&'o Field> {
        object.field(identifier).or_else(|| object.field(&format!("__{identifier}__")))
    }
}
