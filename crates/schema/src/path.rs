//! Where a walk through an object is: a list on the stack, written out only
//! when there is something to say.

use std::fmt::Write as _;

#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    above: Option<&'a Step<'a>>,
    part: Part<'a>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Root,
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

/// Parsers of JSON stop at 128; a value that is deeper came another way.
pub(crate) const DEPTH_MAX: usize = 256;

// === impl Step ===

impl<'a> Step<'a> {
    pub(crate) const ROOT: Step<'static> = Step { above: None, part: Part::Root, depth: 0 };

    pub(crate) fn field(&'a self, name: &'a str) -> Step<'a> {
        self.down(Part::Field(name))
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Step<'a> {
        self.down(Part::Key(key))
    }

    pub(crate) fn index(&'a self, index: usize) -> Step<'a> {
        self.down(Part::Index(index))
    }

    fn down(&'a self, part: Part<'a>) -> Step<'a> {
        Step { above: Some(self), part, depth: self.depth + 1 }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.depth == 0
    }

    pub(crate) fn is_too_deep(&self) -> bool {
        self.depth > DEPTH_MAX
    }

    /// `spec.labels.app`: keys of maps as if they were fields.
    pub(crate) fn dotted(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &|out, key| {
            dot(out);
            out.push_str(key);
        });
        out
    }

    /// `spec.labels[app]`.
    pub(crate) fn keyed(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &|out, key| {
            let _ = write!(out, "[{key}]");
        });
        out
    }

    /// `spec.containers.ports`: the fields alone.
    pub(crate) fn fields(&self) -> String {
        let mut above = self.above.map(Step::fields).unwrap_or_default();
        if let Part::Field(name) = self.part {
            dot(&mut above);
            above.push_str(name);
        }
        above
    }

    fn write(&self, out: &mut String, key: &dyn Fn(&mut String, &str)) {
        if let Some(above) = self.above {
            above.write(out, key);
        }
        match self.part {
            Part::Root => {}
            Part::Field(name) => {
                dot(out);
                out.push_str(name);
            }
            Part::Key(name) => key(out, name),
            Part::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
        }
    }
}

fn dot(out: &mut String) {
    if !out.is_empty() {
        out.push('.');
    }
}
