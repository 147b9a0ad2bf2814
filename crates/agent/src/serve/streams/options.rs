//! What a client asks for, in a kubelet's parameters.

use crate::serve::query;

/// Ports of one request of the older kind, which opens all at once.
const PORTS_MAX: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remote {
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forward {
    pub ports: Vec<u16>,
}

// === impl Remote ===

impl Remote {
    pub(crate) fn parse(query: &str) -> Result<Remote, String> {
        let mut options = Remote::default();
        for (name, value) in query::pairs(query) {
            let on = matches!(value.as_str(), "1" | "true");
            match name.as_str() {
                "command" => options.command.push(value),
                "input" => options.stdin = on,
                "output" => options.stdout = on,
                "error" => options.stderr = on,
                "tty" => options.tty = on,
                _ => {}
            }
        }
        // A terminal has one output.
        options.stderr &= !options.tty;
        match options.stdin || options.stdout || options.stderr {
            true => Ok(options),
            false => Err("you must specify at least 1 of stdin, stdout, stderr".into()),
        }
    }
}

// === impl Forward ===

impl Forward {
    pub(crate) fn parse(query: &str) -> Result<Forward, String> {
        let mut ports = Vec::new();
        let given =
            query::pairs(query).filter(|(name, _)| matches!(name.as_str(), "port" | "ports"));
        for (_, value) in given {
            for text in value.split(',') {
                let port = text.parse().ok().filter(|port| *port > 0);
                ports.push(port.ok_or_else(|| format!("unable to parse {value:?} as a port"))?);
            }
        }
        match ports.len() {
            0 => Err("query parameter \"port\" is required".into()),
            1..=PORTS_MAX => Ok(Forward { ports }),
            count => Err(format!("{count} ports; {PORTS_MAX} are forwarded at most")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_a_kubelet_does() {
        let read = Remote::parse("command=ls&command=-l&output=1&error=1&tty=1").expect("options");
        assert_eq!(read.command, ["ls", "-l"]);
        assert!(read.stdout && read.tty && !read.stderr && !read.stdin);
        assert!(Remote::parse("command=ls").expect_err("refused").contains("at least 1 of"));
        assert_eq!(Forward::parse("port=80,81&port=82").map(|f| f.ports), Ok(vec![80, 81, 82]));
        for bad in ["", "port=", "port=0", "port=65536", "port=x"] {
            assert!(Forward::parse(bad).is_err(), "{bad}");
        }
    }
}
