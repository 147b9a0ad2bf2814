//! The plan of an expression: every name is a place, every call a function.

use regex::Regex;

use crate::cost::Rule;
use crate::library::Apply;
use crate::value::{Text, Value};

#[derive(Debug)]
pub enum Node {
    Constant(Value<'static>),
    Attribute(Attribute),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Call(Call),
    /// Equal, or not.
    Equality {
        negated: bool,
        sides: Box<[Node; 2]>,
    },
    /// In a list of constants.
    Member {
        of: Box<Node>,
        among: Box<Node>,
    },
    /// `or` and, with a value at last, `orValue`.
    Or2 {
        value: bool,
        sides: Box<[Node; 2]>,
    },
    List(Vec<(Node, bool)>),
    Map(Vec<Entry>),
    Fold(Box<Fold>),
    /// What is false is false; all else, and errors, is true.
    NotStrictlyFalse(Box<Node>),
    /// Adds to the list that the accumulator is, in place.
    Push {
        slot: usize,
        items: Vec<(Node, bool)>,
        base: u64,
    },
    /// Adds to the map that the accumulator is, in place.
    Insert {
        slot: usize,
        entry: Box<Inserted>,
    },
}

/// A value and the way from it.
#[derive(Debug)]
pub struct Attribute {
    pub base: Base,
    pub steps: Vec<Step>,
    /// Only whether the last step leads anywhere.
    pub test: bool,
}

#[derive(Debug)]
pub enum Base {
    /// By its place; its name is for errors.
    Variable(usize, Box<str>),
    Local(usize),
    Of(Box<Node>),
    /// Condition, and the value of either case.
    Choice(Box<[Node; 3]>),
}

#[derive(Debug)]
pub struct Step {
    pub key: StepKey,
    pub optional: bool,
}

#[derive(Debug)]
pub enum StepKey {
    Field(Text<'static>),
    Constant(Value<'static>),
    Of(Node),
}

#[derive(Debug)]
pub struct Call {
    pub apply: Apply,
    pub args: Vec<Node>,
    pub rule: Rule,
    /// Ends at the first argument that is an error, and costs nothing then
    /// unless it was the last.
    pub in_order: bool,
    /// The pattern, where it is constant.
    pub pattern: Option<Regex>,
}

#[derive(Debug)]
pub struct Entry {
    pub key: Node,
    pub value: Node,
    pub optional: bool,
}

#[derive(Debug)]
pub enum Inserted {
    Entry(Node, Node),
    Map(Node),
}

#[derive(Debug)]
pub struct Fold {
    pub range: Node,
    pub accumulator: usize,
    pub first: usize,
    pub second: Option<usize>,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}
