//! Which calls a route is for, and whom they are about.

use std::borrow::Cow;

use super::view::View;
use crate::config::{argument_path, model};

/// All that is given must hold.
pub(crate) struct CallMatcher {
    service: Option<Service>,
    version: Option<String>,
    group: Option<String>,
    methods: Vec<String>,
    named: Vec<(String, String)>,
}

enum Service {
    Exact(String),
    /// All that begin so.
    Below(String),
}

/// Where a call has its key.
pub(crate) struct CallKey {
    named: Option<String>,
    argument: Option<(usize, Vec<String>)>,
}

// === impl CallMatcher ===

impl CallMatcher {
    pub(crate) fn new(model: &model::Match) -> CallMatcher {
        let text =
            |text: &Option<toml::Spanned<String>>| text.as_ref().map(|t| t.get_ref().clone());
        let named =
            model.headers.iter().map(|(name, value)| (name.get_ref().clone(), value.clone()));
        CallMatcher {
            service: text(&model.service).map(|service| match service.strip_suffix('*') {
                Some(below) => Service::Below(below.to_owned()),
                None => Service::Exact(service),
            }),
            version: text(&model.version),
            group: text(&model.group),
            methods: model.methods.iter().map(|method| method.get_ref().clone()).collect(),
            named: named.collect(),
        }
    }

    /// What is dearest to look at comes last.
    pub(crate) fn matches(&self, view: &mut View<'_>) -> bool {
        let is = |wanted: &String, found: Option<Cow<'_, str>>| found.is_some_and(|f| f == *wanted);
        self.service
            .as_ref()
            .is_none_or(|wanted| view.service().is_some_and(|service| wanted.matches(&service)))
            && (self.methods.is_empty()
                || view.method().is_some_and(|m| self.methods.iter().any(|wanted| *wanted == m)))
            && self.version.as_ref().is_none_or(|wanted| is(wanted, view.version()))
            && self.group.as_ref().is_none_or(|wanted| is(wanted, view.group()))
            && self.named.iter().all(|(name, wanted)| {
                view.named(name).is_some_and(|value| wanted == "*" || value == *wanted)
            })
    }
}

// === impl Service ===

impl Service {
    fn matches(&self, service: &str) -> bool {
        match self {
            Service::Exact(wanted) => wanted == service,
            Service::Below(prefix) => service.starts_with(prefix),
        }
    }
}

// === impl CallKey ===

impl CallKey {
    pub(crate) fn new(model: &model::Key) -> CallKey {
        let named = model.bolt_header.as_ref().or(model.attachment.as_ref());
        let argument = model.argument.as_ref().map(|argument| {
            argument_path(argument.get_ref()).expect("checked: a place and a path")
        });
        CallKey { named: named.map(|name| name.get_ref().clone()), argument }
    }

    pub(crate) fn of<'a>(&self, view: &mut View<'a>) -> Option<Cow<'a, str>> {
        let sound = |text: &Cow<'_, str>| !text.is_empty();
        let named = self.named.as_ref().and_then(|name| view.named(name)).filter(sound);
        named.or_else(|| {
            let (index, path) = self.argument.as_ref()?;
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            view.argument(*index, &path).filter(sound)
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::call::frame::{Frame, Wire};

    fn frames(wire: Wire, bytes: &[u8]) -> Vec<Frame> {
        let mut input = BytesMut::from(bytes);
        std::iter::from_fn(|| wire.next(&mut input, 1 << 20).expect("recorded")).collect()
    }

    /// As real clients sent them: pay, pay, find, refuse, note, pay.
    fn recorded(wire: Wire) -> Vec<Frame> {
        match wire {
            Wire::Bolt => frames(wire, include_bytes!("../../../rpc/tests/golden/sofa.requests")),
            Wire::Dubbo => {
                frames(wire, include_bytes!("../../../rpc/tests/golden/dubbo3.requests"))
            }
        }
    }

    fn matching(wire: Wire, rule: &str) -> Vec<usize> {
        let rule = CallMatcher::new(&toml::from_str(rule).expect("a rule"));
        let calls = recorded(wire).into_iter().enumerate();
        let calls = calls.filter(|(_, frame)| rule.matches(&mut frame.view()));
        calls.map(|(at, _)| at).collect()
    }

    fn keys(wire: Wire, key: &str) -> Vec<String> {
        let key = CallKey::new(&toml::from_str(key).expect("a key"));
        let calls = recorded(wire);
        let key_of = |frame: &Frame| key.of(&mut frame.view()).unwrap_or_default().into_owned();
        calls.iter().map(key_of).collect()
    }

    #[test]
    fn calls_of_sofarpc_are_told_apart() {
        let check = |rule, expected: &[usize]| assert_eq!(matching(Wire::Bolt, rule), expected);
        check("", &[0, 1, 2, 3, 4, 5]);
        check("service = 'Sofa$Payments:1.0'", &[0, 1, 2, 3, 4, 5]);
        check("service = 'Sofa$*'", &[0, 1, 2, 3, 4, 5]);
        check("service = 'Sofa$Payments'", &[]);
        check("methods = ['find', 'note']", &[2, 4]);
        check("service = 'Sofa$*'\nmethods = ['pay']\nheaders = { polis-uid = '*' }", &[0]);
        check("headers = { app = 'shop' }\nmethods = ['refuse']", &[3]);
    }

    #[test]
    fn calls_of_dubbo_are_told_apart() {
        let check = |rule, expected: &[usize]| assert_eq!(matching(Wire::Dubbo, rule), expected);
        check("", &[0, 1, 2, 3, 4, 5]);
        check("service = 'Dubbo$Payments'\nversion = '1.0'", &[0, 1, 2, 3, 4, 5]);
        check("version = '2.0'", &[]);
        check("group = 'g'", &[]);
        check("methods = ['find', 'note']", &[2, 4]);
        check("headers = { polis-uid = '2088000000000421' }", &[0]);
    }

    #[test]
    fn a_key_is_found_by_name_and_then_in_an_argument() {
        let users = |n: &[u32]| n.iter().map(|n| format!("20880000000004{n}")).collect::<Vec<_>>();
        for (wire, named) in [(Wire::Bolt, "bolt_header"), (Wire::Dubbo, "attachment")] {
            let mut by_name = keys(wire, &format!("{named} = 'polis-uid'"));
            assert_eq!(by_name.remove(0), "2088000000000421");
            assert_eq!(by_name.concat(), "");
            let both = keys(wire, &format!("{named} = 'polis-uid'\nargument = '0'"));
            assert_eq!([&both[..2], &both[3..]].concat(), users(&[21, 22, 24, 25, 26]));
            assert_eq!(keys(wire, "argument = '0.user'")[2], "2088000000000423");
            assert_eq!(keys(wire, "argument = '1'")[1], "200");
            assert_eq!(keys(wire, "argument = '9'").concat(), "");
        }
    }
}
