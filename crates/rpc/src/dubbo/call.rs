//! What a body says about a call. Attachments stand behind the arguments, which
//! have no length: they are reached by skipping as many values as the types of
//! the parameters name.

use std::borrow::Cow;

use super::{Error, Frame, HESSIAN};
use crate::hessian::{Dialect, Entry, Node, Reader, Value};

/// As many as a method of Java can have.
const PARAMETERS_MAX: usize = 255;

#[derive(Debug)]
pub struct Call<'a> {
    /// Of the protocol.
    pub dubbo: Cow<'a, str>,
    /// The interface, or the path under which it is exported.
    pub path: Cow<'a, str>,
    /// Of the service; `0.0.0` where it has none.
    pub version: Cow<'a, str>,
    pub method: Cow<'a, str>,
    parameters: usize,
    reader: Reader<'a>,
    arguments: Vec<Value<'a>>,
    attachments: Option<Node>,
}

// === impl Call ===

impl<'a> Call<'a> {
    pub fn of(frame: &'a Frame) -> Result<Call<'a>, Error> {
        let head = frame.head();
        if head.serialization() != HESSIAN {
            return Err(Error::NotHessian(head.serialization()));
        }
        if !head.is_request() || head.is_event() {
            return Err(Error::NotACall);
        }
        let mut reader = Reader::new(frame.body(), Dialect::Final);
        let mut string = || match reader.value()? {
            Value::Text(text) => Ok(text),
            Value::Null => Ok(Cow::Borrowed("")),
            _ => Err(Error::NotACall),
        };
        let (dubbo, path, version, method) = (string()?, string()?, string()?, string()?);
        let parameters = count(&string()?).ok_or(Error::BadParameters)?;
        let (arguments, attachments) = (Vec::new(), None);
        Ok(Call { dubbo, path, version, method, parameters, reader, arguments, attachments })
    }

    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// An argument, or what a path within it leads to.
    pub fn argument(&mut self, index: usize, path: &[&str]) -> Result<Option<Value<'a>>, Error> {
        self.read_arguments(index.saturating_add(1))?;
        match self.arguments.get(index).cloned() {
            Some(value) => Ok(self.reader.walk(value, path)?),
            None => Ok(None),
        }
    }

    pub fn attachment(&mut self, key: &str) -> Result<Option<Value<'a>>, Error> {
        Ok(self.attachment_entry(key)?.map(|(_, value)| value))
    }

    pub(super) fn attachment_entry(&mut self, key: &str) -> Result<Option<Entry<'a>>, Error> {
        let attachments = match self.attachments {
            Some(attachments) => attachments,
            None => {
                self.read_arguments(self.parameters)?;
                // In its place, not by a reference to another value.
                let start = self.reader.position();
                match self.reader.value()? {
                    Value::Node(node) if self.reader.is_map(node) && node.begins_at(start) => node,
                    _ => return Err(Error::NotACall),
                }
            }
        };
        self.attachments = Some(attachments);
        Ok(self.reader.entry(attachments, key)?)
    }

    /// Whether the attachments, once read, were all that was left.
    pub(super) fn is_whole(&self) -> bool {
        self.attachments.is_some() && self.reader.is_at_end()
    }

    fn read_arguments(&mut self, count: usize) -> Result<(), Error> {
        while self.arguments.len() < count.min(self.parameters) {
            self.arguments.push(self.reader.value()?);
        }
        Ok(())
    }
}

/// How many types a descriptor names: `Ljava/lang/String;J[I` are three.
fn count(descriptor: &str) -> Option<usize> {
    let mut rest = descriptor.as_bytes();
    let mut count = 0;
    while !rest.is_empty() {
        let dimensions = rest.iter().take_while(|byte| **byte == b'[').count();
        rest = &rest[dimensions..];
        let length = match rest.first()? {
            b'L' => rest.iter().position(|byte| *byte == b';')? + 1,
            b'Z' | b'B' | b'C' | b'S' | b'I' | b'J' | b'F' | b'D' => 1,
            _ => return None,
        };
        rest = &rest[length..];
        count += 1;
    }
    (count <= PARAMETERS_MAX).then_some(count)
}
