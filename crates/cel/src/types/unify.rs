//! Unification: whether one type may stand where another is wanted, and what
//! the type variables are for that.

use std::sync::Arc;

use super::format::Type;

/// What is known of the type variables of one check.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    bound: Vec<Option<Type>>,
}

// === impl Variables ===

impl Variables {
    pub fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Param(self.bound.len() as u32 - 1)
    }

    /// Whether `from` may stand for each of `to`; binds variables only if so.
    pub fn assign_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        let mut trial = self.clone();
        let fits =
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| trial.unify(from, to));
        if fits {
            *self = trial;
        }
        fits
    }

    pub fn assign(&mut self, from: &Type, to: &Type) -> bool {
        self.assign_all(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    fn bound(&self, variable: u32) -> Option<&Type> {
        self.bound[variable as usize].as_ref()
    }

    fn unify(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(variable) = to {
            match self.bind(from, *variable) {
                Binding::Fits => return true,
                Binding::Clashes => return false,
                Binding::Circular => {}
            }
        }
        if let Type::Param(variable) = from {
            return matches!(self.bind(to, *variable), Binding::Fits);
        }
        match (from, to) {
            (Type::Dyn | Type::Error, _) | (_, Type::Dyn | Type::Error) => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null
                    | Type::Duration
                    | Type::Timestamp
                    | Type::Optional(_)
                    | Type::Object(_)
                    | Type::Library(_)
            ),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(from), Type::List(to)) | (Type::Optional(from), Type::Optional(to)) => {
                self.unify(from, to)
            }
            (Type::Map(from_key, from), Type::Map(to_key, to)) => {
                self.unify(from_key, to_key) && self.unify(from, to)
            }
            (Type::Object(from), Type::Object(to)) => from.name == to.name,
            (from, to) => from == to,
        }
    }

    fn bind(&mut self, value: &Type, variable: u32) -> Binding {
        if *value == Type::Param(variable) {
            return Binding::Fits;
        }
        if let Some(known) = self.bound(variable).cloned() {
            if known == *value {
                return Binding::Fits;
            }
            if !self.unify(value, &known) {
                return Binding::Clashes;
            }
            let general = most_general(value, &known);
            if !self.refers(general, variable) {
                self.bound[variable as usize] = Some(general.clone());
            }
            return Binding::Fits;
        }
        if self.refers(value, variable) {
            return Binding::Circular;
        }
        self.bound[variable as usize] = Some(value.clone());
        Binding::Fits
    }

    /// Whether `variable` is somewhere in `within`.
    fn refers(&self, within: &Type, variable: u32) -> bool {
        match within {
            Type::Param(other) if *other == variable => true,
            Type::Param(other) => {
                self.bound(*other).is_some_and(|known| self.refers(known, variable))
            }
            Type::List(of) | Type::Optional(of) | Type::Type(Some(of)) => self.refers(of, variable),
            Type::Map(key, value) => self.refers(key, variable) || self.refers(value, variable),
            _ => false,
        }
    }

    /// The type with what is known of its variables.
    pub fn resolve(&self, of: &Type) -> Type {
        match of {
            Type::Param(variable) => match self.bound(*variable) {
                Some(known) => self.resolve(known),
                None => of.clone(),
            },
            Type::List(of) => Type::list(self.resolve(of)),
            Type::Map(key, value) => Type::map(self.resolve(key), self.resolve(value)),
            Type::Optional(of) => Type::optional(self.resolve(of)),
            Type::Type(Some(of)) => Type::Type(Some(Arc::new(self.resolve(of)))),
            other => other.clone(),
        }
    }

    /// The same, and what nothing is known of is `dyn`.
    pub fn settle(&self, of: &Type) -> Type {
        without_params(&self.resolve(of))
    }
}

/// What came of giving a variable a type.
enum Binding {
    Fits,
    /// It has another one.
    Clashes,
    /// The variable is within the type.
    Circular,
}

fn without_params(of: &Type) -> Type {
    match of {
        Type::Param(_) => Type::Dyn,
        Type::List(of) => Type::list(without_params(of)),
        Type::Map(key, value) => Type::map(without_params(key), without_params(value)),
        Type::Optional(of) => Type::optional(without_params(of)),
        Type::Type(Some(of)) => Type::Type(Some(Arc::new(without_params(of)))),
        other => other.clone(),
    }
}

/// Of two types that unify the one that says less.
pub fn most_general<'t>(first: &'t Type, second: &'t Type) -> &'t Type {
    if says_less(first, second) { first } else { second }
}

fn says_less(first: &Type, second: &Type) -> bool {
    match (first, second) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(first), Type::List(second))
        | (Type::Optional(first), Type::Optional(second)) => says_less(first, second),
        (Type::Map(key, value), Type::Map(other_key, other)) => {
            says_less(key, other_key) && says_less(value, other)
        }
        (Type::Type(_), Type::Type(_)) => true,
        (first, second) => first == second,
    }
}
