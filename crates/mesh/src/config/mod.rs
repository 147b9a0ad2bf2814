//! What people write: one TOML file, checked as a whole before any of it counts.
//!
//! [`model`] is the file word for word, with a default beside every field;
//! [`check`] refuses what cannot be meant, naming line, value and remedy.
//! The same model is what a control plane sends.

mod check;
mod error;
mod fit;
pub mod model;
mod spoken;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use error::Error;
pub(crate) use fit::path as argument_path;
pub use model::Config;
pub(crate) use spoken::Spoken;

/// Larger files are refused unread.
const FILE_BYTES_MAX: u64 = 16 << 20;

// === impl Config ===

impl Config {
    pub fn load(path: &Path) -> Result<Config, Error> {
        let name = path.display().to_string();
        let unreadable = |source| Error::Read { file: name.clone(), source };
        let bytes = fs::metadata(path).map_err(unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(Error::TooLarge { file: name, bytes, max: FILE_BYTES_MAX });
        }
        Config::parse(&fs::read_to_string(path).map_err(unreadable)?, &name)
    }

    /// The files that it names and that may be replaced while serving.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let listeners = self.listener.iter().filter_map(|listener| listener.tls.as_ref());
        let ours =
            listeners.flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]);
        let clusters = self.cluster.iter().filter_map(|cluster| cluster.tls.as_ref());
        let theirs = clusters.flat_map(|tls| [Some(&tls.ca), tls.cert.as_ref(), tls.key.as_ref()]);
        ours.chain(theirs).flatten().map(PathBuf::as_path)
    }

    /// `file` is only named in errors.
    pub fn parse(text: &str, file: &str) -> Result<Config, Error> {
        let mut config: Config = toml::from_str(text).map_err(|error| {
            Error::at(file, text, error.span().map_or(0, |span| span.start), error.message())
        })?;
        match check::check(&config) {
            None => {
                config.text = text.to_owned();
                Ok(config)
            }
            Some(complaint) => Err(Error::at(file, text, complaint.at, &complaint.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"
[[listener]]
name = "web"
address = "127.0.0.1:8080"
[[listener.route]]
name = "pay"
match = { path_prefix = "/pay" }
key = { header = "polis-uid" }
map = "users"

[[map]]
name = "users"
default = "blue"
entries = { "1" = "green" }

[[cluster]]
name = "blue"
endpoints = [{ address = "127.0.0.1:9001" }]
[[cluster]]
name = "green"
endpoints = [{ address = "127.0.0.1:9002" }]
"#;

    /// Replaces `from` by `to` in a sound file and expects to be told `line: message`.
    fn refused(from: &str, to: &str, expected: &str) {
        assert!(SOUND.contains(from), "{from}");
        let error = Config::parse(&SOUND.replacen(from, to, 1), "p.toml").expect_err(to);
        assert!(error.to_string().contains(expected), "{to}: {error}");
    }

    #[test]
    fn a_sound_file_is_taken() {
        let config = Config::parse(SOUND, "p.toml").expect("sound");
        assert_eq!(config.listener[0].route[0].map.as_ref().expect("map").get_ref(), "users");
    }

    #[test]
    fn what_a_protocol_does_not_have_is_refused_with_its_line() {
        let calls = |protocol: &str, line: &str| {
            format!(
                "[[listener]]\nname = 'calls'\naddress = '127.0.0.1:1'\nprotocol = '{protocol}'\n\
                 [[listener.route]]\nname = 'pay'\ncluster = 'a'\n{line}\n\
                 [[cluster]]\nname = 'a'\nprotocol = '{protocol}'\n\
                 endpoints = [{{ address = '127.0.0.1:2' }}]\n"
            )
        };
        let check = |protocol: &str, line: &str, expected: &str| {
            let told = match Config::parse(&calls(protocol, line), "p.toml") {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            assert!(told.contains(expected) && told.is_empty() == expected.is_empty(), "{told}");
        };
        let pay = "match = { service = 'com.bank.Pay:1.0', methods = ['pay'] }";
        check("bolt", pay, "");
        check("bolt", "key = { bolt_header = 'uid', argument = '0.userId' }", "");
        check("bolt", "key = { attachment = 'uid' }", "p.toml:6:8: route `pay`: Bolt has no");
        check("bolt", "match = { version = '1.0' }", "Bolt has no `match.version`");
        check("bolt", "match = { path = '/pay' }", "Bolt has no `match.path`");
        check("bolt", "key = { argument = 'x.userId' }", "p.toml:8:20: an argument is its place");
        check("bolt", "retry = { on = [503] }", "p.toml:8:17: Bolt has no statuses");
        check("bolt", "response_headers = { set = { a = 'b' } }", "`response_headers`");
        check("dubbo", "match = { service = 'com.bank.Pay', version = '1.0', group = 'g' }", "");
        check("dubbo", "key = { bolt_header = 'uid' }", "Dubbo has no `key.bolt_header`");
        check("dubbo", "request_headers = { set = { stamp = 'b' } }", "");
        check("dubbo", "request_headers = { remove = ['b'] }", "`request_headers` but `set`");
        check("http1", "", "unknown variant `http1`");
        check("tcp", "", "");
        check("tcp", "match = { path = '/pay' }", "a stream of bytes has no `match.path`");
        check("tcp", "match = { sni = 'a.example' }", "make it `tls-passthrough`");
        check("tcp", "rate_limit = { requests = 1, per = '1s' }", "no `rate_limit`");
        refused("path_prefix = \"/pay\"", "sni = \"a.example\"", "HTTP has no `match.sni`");
        let detect = "address = \"127.0.0.1:8080\"\ndetect_timeout = \"1s\"";
        refused("address = \"127.0.0.1:8080\"", detect, "`detect_timeout` is of `auto`");
        refused("path_prefix = \"/pay\"", "service = \"Pay\"", "HTTP has no `match.service`");
        refused("header = \"polis-uid\"", "argument = \"0\"", "HTTP has no `key.argument`");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_line_and_reason() {
        refused("path_prefix", "path_prefx", "p.toml:7:11: unknown field `path_prefx`");
        refused("map = \"users\"", "map = \"user\"", "p.toml:9:7: map `user` is not declared");
        refused("\"green\" }", "\"gren\" }", "cluster `gren` is not declared");
        refused("map = \"users\"", "", "route `pay` says nowhere to go");
        refused("name = \"green\"", "name = \"blue\"", "cluster `blue` is declared twice");
        refused("key = { header = \"polis-uid\" }", "", "map `users` needs a key");
        refused("map = \"users\"", "map = \"users\"\nrewrite_prefix = \"\"", "begins with a slash");
        refused("127.0.0.1:8080", "localhost", "p.toml:4:11: ");
        refused("\"/pay\"", "\"pay\"", "begins with no slash");
        let told = "name = \"green\"\nproxy_protocol = \"v2\"";
        refused("name = \"green\"", told, "endpoints of plain `tcp`");
    }

    /// What people copy from the page must be sound.
    #[test]
    fn the_reference_s_examples_are_sound() {
        let page = include_str!("../../../../docs/reference/proxy.md");
        let blocks: Vec<&str> =
            page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            Config::parse(block, "proxy.md").expect("an example");
        }
    }
}
