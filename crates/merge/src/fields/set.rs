//! A set of paths, as a tree: each node says whether it is in the set itself,
//! and has those below it.
//!
//! Owning a field is not owning what is below it: `.spec` and `.spec.replicas`
//! are two members.

use std::cmp::Ordering;

use super::{Path, Step};

/// Nodes in order; none is without use (in the set, or with some below).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<Node>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub step: Step,
    pub member: bool,
    pub below: Fields,
}

/// What two sets have at one step.
enum Pair<'a> {
    Left(&'a Node),
    Right(&'a Node),
    Both(&'a Node, &'a Node),
}

// === impl Fields ===

impl Fields {
    /// A set of plain fields.
    #[must_use]
    pub fn of(paths: &[&[&str]]) -> Fields {
        let mut fields = Fields::default();
        for path in paths {
            fields.insert(&Path::fields(path));
        }
        fields
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn insert(&mut self, path: &Path) {
        let mut fields = self;
        for (index, step) in path.0.iter().enumerate() {
            let at = match fields.0.binary_search_by(|node| node.step.cmp(step)) {
                Ok(at) => at,
                Err(at) => {
                    let below = Fields::default();
                    fields.0.insert(at, Node { step: step.clone(), member: false, below });
                    at
                }
            };
            let node = &mut fields.0[at];
            node.member |= index + 1 == path.0.len();
            fields = &mut node.below;
        }
    }

    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        let Some((last, above)) = path.0.split_last() else { return false };
        let mut fields = self;
        for step in above {
            match fields.node(step) {
                Some(node) => fields = &node.below,
                None => return false,
            }
        }
        fields.node(last).is_some_and(|node| node.member)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Fields) -> Fields {
        if self.is_empty() {
            return other.clone();
        }
        let nodes = pairs(&self.0, &other.0).map(|pair| match pair {
            Pair::Left(node) | Pair::Right(node) => node.clone(),
            Pair::Both(a, b) => Node {
                step: a.step.clone(),
                member: a.member || b.member,
                below: a.below.union(&b.below),
            },
        });
        Fields(nodes.collect())
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Fields) -> Fields {
        let nodes = pairs(&self.0, &other.0).filter_map(|pair| match pair {
            Pair::Left(_) | Pair::Right(_) => None,
            Pair::Both(a, b) => a.with(a.member && b.member, a.below.intersection(&b.below)).used(),
        });
        Fields(nodes.collect())
    }

    /// What is in this one and not in `other`; what is below a member of
    /// `other` stays.
    #[must_use]
    pub fn difference(&self, other: &Fields) -> Fields {
        if other.is_empty() {
            return self.clone();
        }
        let nodes = pairs(&self.0, &other.0).filter_map(|pair| match pair {
            Pair::Left(node) => Some(node.clone()),
            Pair::Right(_) => None,
            Pair::Both(a, b) => a.with(a.member && !b.member, a.below.difference(&b.below)).used(),
        });
        Fields(nodes.collect())
    }

    /// What is in every path, the whole paths' members first, then below.
    pub fn for_each(&self, visit: &mut impl FnMut(&Path)) {
        self.visit(&mut Path::default(), visit);
    }

    fn visit(&self, path: &mut Path, visit: &mut impl FnMut(&Path)) {
        for node in self.0.iter().filter(|node| node.member) {
            path.0.push(node.step.clone());
            visit(path);
            path.0.pop();
        }
        for node in self.0.iter().filter(|node| !node.below.is_empty()) {
            path.0.push(node.step.clone());
            node.below.visit(path, visit);
            path.0.pop();
        }
    }

    /// Keeps what starts with a field that is `wanted`.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|node| node.step.name().is_none_or(&wanted));
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.0
    }

    pub(crate) fn node(&self, step: &Step) -> Option<&Node> {
        let at = self.0.binary_search_by(|node| node.step.cmp(step)).ok()?;
        Some(&self.0[at])
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        let at = self.0.binary_search_by(|node| node.step.compare_field(name)).ok()?;
        Some(&self.0[at])
    }

    /// Adds a node that comes after all that are there.
    pub(crate) fn push(&mut self, node: Node) {
        debug_assert!(self.0.last().is_none_or(|last| last.step < node.step));
        self.0.extend(node.used());
    }

    /// From nodes in any order, each step at most once.
    pub(crate) fn from_nodes(nodes: impl Iterator<Item = Node>) -> Fields {
        let mut nodes: Vec<Node> = nodes.filter_map(Node::used).collect();
        nodes.sort_unstable_by(|a, b| a.step.cmp(&b.step));
        Fields(nodes)
    }
}

// === impl Node ===

impl Node {
    fn with(&self, member: bool, below: Fields) -> Node {
        Node { step: self.step.clone(), member, below }
    }

    fn used(self) -> Option<Node> {
        (self.member || !self.below.is_empty()).then_some(self)
    }
}

fn pairs<'a>(mut left: &'a [Node], mut right: &'a [Node]) -> impl Iterator<Item = Pair<'a>> {
    std::iter::from_fn(move || {
        let order = match (left.first(), right.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.step.cmp(&b.step),
        };
        let take = |side: &mut &'a [Node]| {
            let (first, rest) = side.split_first().expect("the order says that it has one");
            *side = rest;
            first
        };
        Some(match order {
            Ordering::Less => Pair::Left(take(&mut left)),
            Ordering::Greater => Pair::Right(take(&mut right)),
            Ordering::Equal => Pair::Both(take(&mut left), take(&mut right)),
        })
    })
}
