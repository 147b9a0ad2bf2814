//! Which requests are written down, how much of them, and when. Pure.

use crate::caller::Caller;

/// Each says all that the one before says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    None,
    /// Who asked what, and what came of it.
    Metadata,
    /// And what was sent.
    Request,
    /// And what was answered.
    RequestResponse,
}

/// When something is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    RequestReceived,
    /// Of what goes on for long: the answer has begun.
    ResponseStarted,
    ResponseComplete,
    Panic,
}

/// Some of the stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages(u8);

/// The first rule that fits decides; a request that fits none is not written down.
#[derive(Debug, Default)]
pub struct Policy {
    pub rules: Vec<Rule>,
    pub omit_stages: Stages,
    pub omit_managed_fields: bool,
}

/// All of its parts must fit; a part that is empty fits everything.
#[derive(Debug)]
pub struct Rule {
    pub level: Level,
    pub users: Vec<String>,
    pub groups: Vec<String>,
    pub verbs: Vec<String>,
    pub subject: SubjectRule,
    pub omit_stages: Stages,
    pub omit_managed_fields: Option<bool>,
}

#[derive(Debug)]
pub enum SubjectRule {
    Anything,
    /// In these namespaces, where none is the empty name.
    Resources {
        kinds: Vec<Kinds>,
        namespaces: Vec<String>,
    },
    /// Of what is no resource; `*` at the end is any rest.
    Paths(Vec<String>),
}

#[derive(Debug, Default)]
pub struct Kinds {
    /// `*` is any.
    pub group: String,
    /// `pods`, `pods/log`, `pods/*`, `*/scale` or `*`.
    pub resources: Vec<String>,
    pub names: Vec<String>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub verb: String,
    pub subject: Subject,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Resource(Reference),
    Path(String),
}

/// What is known of an object; empty where it is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub group: String,
    pub version: String,
    pub resource_version: String,
    pub subresource: String,
}

/// What is to be done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub level: Level,
    pub omit_stages: Stages,
    pub omit_managed_fields: bool,
}

// === impl Level ===

impl Level {
    pub const ALL: [Level; 4] =
        [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];

    pub fn as_str(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

// === impl Stage ===

impl Stage {
    pub const ALL: [Stage; 4] =
        [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic];

    pub fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

// === impl Stages ===

impl Stages {
    pub fn has(self, stage: Stage) -> bool {
        self.0 & (1 << stage as u8) != 0
    }

    #[must_use]
    pub fn with(self, stage: Stage) -> Stages {
        Stages(self.0 | 1 << stage as u8)
    }

    fn union(self, other: Stages) -> Stages {
        Stages(self.0 | other.0)
    }
}

// === impl Policy ===

impl Policy {
    /// Without a caller when nobody has shown who they are.
    pub fn judge(&self, caller: Option<&Caller>, asked: &Asked) -> Verdict {
        match self.rules.iter().find(|rule| rule.fits(caller, asked)) {
            Some(rule) => Verdict {
                level: rule.level,
                omit_stages: self.omit_stages.union(rule.omit_stages),
                omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
            },
            None => Verdict {
                level: Level::None,
                omit_stages: self.omit_stages,
                omit_managed_fields: self.omit_managed_fields,
            },
        }
    }
}

// === impl Rule ===

impl Rule {
    fn fits(&self, caller: Option<&Caller>, asked: &Asked) -> bool {
        let is_user = |caller: &Caller| has(&self.users, &caller.name);
        let is_in = |caller: &Caller| caller.groups.iter().any(|group| has(&self.groups, group));
        (self.users.is_empty() || caller.is_some_and(is_user))
            && (self.groups.is_empty() || caller.is_some_and(is_in))
            && (self.verbs.is_empty() || has(&self.verbs, &asked.verb))
            && self.subject.fits(&asked.subject)
    }
}

// === impl SubjectRule ===

impl SubjectRule {
    fn fits(&self, subject: &Subject) -> bool {
        match (self, subject) {
            (SubjectRule::Anything, _) => true,
            (SubjectRule::Resources { kinds, namespaces }, Subject::Resource(object)) => {
                (namespaces.is_empty() || has(namespaces, &object.namespace))
                    && (kinds.is_empty() || kinds.iter().any(|kinds| kinds.fit(object)))
            }
            (SubjectRule::Paths(paths), Subject::Path(path)) => {
                paths.iter().any(|pattern| match pattern.strip_suffix('*') {
                    Some(start) => path.starts_with(start),
                    None => pattern == path,
                })
            }
            _ => false,
        }
    }
}

// === impl Kinds ===

impl Kinds {
    fn fit(&self, object: &Reference) -> bool {
        if self.group != "*" && self.group != object.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let named = self.names.is_empty() || has(&self.names, &object.name);
        named && self.resources.iter().any(|pattern| fits_resource(pattern, object))
    }
}

/// A resource by itself is not what hangs below it: `pods` is not `pods/log`.
fn fits_resource(pattern: &str, object: &Reference) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || object.subresource.is_empty() && pattern == object.resource,
        Some(("*", sub)) => !sub.is_empty() && sub == object.subresource,
        // With the resource itself, as kube-apiserver has it.
        Some((resource, "*")) => resource == object.resource,
        Some((resource, sub)) => resource == object.resource && sub == object.subresource,
    }
}

fn has(list: &[String], one: &str) -> bool {
    list.iter().any(|item| item == one)
}

#[cfg(test)]
mod tests {
    use super::{super::document, *};

    fn asked(verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Asked {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let text = str::to_owned;
        Asked {
            verb: text(verb),
            subject: Subject::Resource(Reference {
                group: text(group),
                resource: text(resource),
                subresource: text(subresource),
                namespace: text(namespace),
                name: text(name),
                ..Reference::default()
            }),
        }
    }

    fn path(verb: &str, path: &str) -> Asked {
        Asked { verb: verb.into(), subject: Subject::Path(path.into()) }
    }

    fn policy(rules: &str) -> Policy {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
        document::parse(&text).expect("it is sound")
    }

    /// Whether a rule fits.
    fn check(rule: &str, asked: &Asked, expected: bool) {
        let policy = policy(&format!("- {{level: Metadata, {rule}}}\n"));
        let caller = Caller::user("ann", ["dev".to_owned()]);
        let level = policy.judge(Some(&caller), asked).level;
        assert_eq!(level == Level::Metadata, expected, "{rule} and {asked:?}");
    }

    #[test]
    fn a_rule_fits_when_all_of_its_parts_do() {
        let pods = asked("get", "", "pods", "shop", "till");
        for (rule, expected) in [
            ("users: [ann]", true),
            ("users: [bob]", false),
            ("userGroups: [ops, dev]", true),
            ("userGroups: [ops]", false),
            ("verbs: [list, get]", true),
            ("verbs: [list]", false),
            ("namespaces: [shop]", true),
            ("namespaces: ['']", false),
            ("users: [ann], verbs: [list]", false),
            ("nonResourceURLs: ['*']", false),
            ("resources: [{group: ''}]", true),
            ("resources: [{group: apps}]", false),
            ("resources: [{group: apps}, {group: '*'}]", true),
        ] {
            check(rule, &pods, expected);
        }
    }

    #[test]
    fn a_kind_is_not_what_hangs_below_it_unless_it_says_so() {
        let of = |resource| asked("get", "", resource, "shop", "till");
        for (pattern, pods, log) in [
            ("pods", true, false),
            ("pods/log", false, true),
            ("pods/*", true, true),
            ("*/log", false, true),
            ("*", true, true),
            ("po", false, false),
        ] {
            let rule = format!("resources: [{{resources: ['{pattern}']}}]");
            check(&rule, &of("pods"), pods);
            check(&rule, &of("pods/log"), log);
        }
        let named = "resources: [{resources: [pods], resourceNames: [till]}]";
        check(named, &of("pods"), true);
        check(named, &asked("get", "", "pods", "shop", "other"), false);
        check(named, &asked("list", "", "pods", "shop", ""), false);
    }

    #[test]
    fn a_path_is_itself_or_what_it_starts_with() {
        for (pattern, asked, expected) in [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/ping", false),
            ("/healthz*", "/healthz/ping", true),
            ("*", "/version", true),
            ("/api*", "/version", false),
        ] {
            check(&format!("nonResourceURLs: ['{pattern}']"), &path("get", asked), expected);
        }
        check("resources: [{group: '*'}]", &path("get", "/version"), false);
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_none_is_silence() {
        let policy = policy(
            "- {level: None, users: [ann]}\n\
             - {level: Request, verbs: [create], omitStages: [RequestReceived], omitManagedFields: true}\n",
        );
        let (ann, bob) = (Caller::user("ann", []), Caller::user("bob", []));
        let (create, get) = (path("create", "/x"), path("get", "/x"));
        assert_eq!(policy.judge(Some(&ann), &create).level, Level::None);
        let verdict = policy.judge(Some(&bob), &create);
        assert_eq!(verdict.level, Level::Request);
        assert!(verdict.omit_managed_fields && verdict.omit_stages.has(Stage::RequestReceived));
        assert!(!verdict.omit_stages.has(Stage::ResponseComplete));
        assert_eq!(policy.judge(Some(&bob), &get).level, Level::None);
        // Who has not shown who they are is no user.
        assert_eq!(policy.judge(None, &create).level, Level::Request);
    }
}
