//! HAProxy's configuration.

use std::net::SocketAddr;

use super::{Process, Setting, text};
use crate::{
    child::free_address,
    proxy::{
        Protocol, Security,
        users::{STAMP, STAMP_HEADER, USER_HEADER, Unit},
    },
};

/// Beyond what any run opens.
const CONNECTIONS_MAX: usize = 8192;

// === impl Setting ===

impl Setting<'_> {
    pub(super) fn haproxy(&self, listen: SocketAddr) -> anyhow::Result<Process> {
        let users = self.users.iter().map(|user| format!("{} {}\n", user.id, user.unit.name()));
        let map = self.write("haproxy.map", &users.collect::<String>())?;
        let config = self.haproxy_config(listen, free_address()?, &text(&map));
        let path = self.write("haproxy.cfg", &config)?;
        // In the foreground, in one process.
        Ok(Process { args: vec!["-db".into(), "-f".into(), text(&path)], listens: listen })
    }

    fn haproxy_config(&self, listen: SocketAddr, metrics: SocketAddr, map: &str) -> String {
        let workers = self.plan.workers;
        let mode = if self.protocol == Protocol::Tcp { "tcp" } else { "http" };
        let wire = if self.protocol.is_http2() { " proto h2" } else { "" };
        let bind = match self.security {
            Security::None => wire.to_owned(),
            Security::Tls => self.haproxy_tls(),
            Security::Mtls => {
                let ca = text(&self.certificates.server.ca);
                format!("{} ca-file {ca} verify required", self.haproxy_tls())
            }
        };
        let rules = match self.protocol {
            Protocol::Tcp => "    default_backend echo\n".to_owned(),
            _ => format!(
                "    http-request set-header {STAMP_HEADER} {STAMP}\n    \
                 use_backend %[req.hdr({USER_HEADER}),map_str({map},a)]\n"
            ),
        };
        let backends = match self.protocol {
            Protocol::Tcp => format!("backend echo\n    server echo {}\n", self.origin.echo),
            _ => Unit::ALL
                .map(|unit| {
                    let (name, address) = (unit.name(), self.address_of(unit));
                    format!("backend {name}\n    server origin {address}{wire}\n")
                })
                .concat(),
        };
        let reuse = if mode == "http" { "    http-reuse always\n" } else { "" };
        format!(
            "global\n    nbthread {workers}\n    maxconn {CONNECTIONS_MAX}\n\
             defaults\n    mode {mode}\n{reuse}    timeout connect 5s\n    timeout client 1h\n    \
             timeout server 1h\n\
             frontend front\n    bind {listen}{bind}\n{rules}\
             {backends}\
             frontend metrics\n    mode http\n    bind {metrics}\n    \
             http-request use-service prometheus-exporter if {{ path /metrics }}\n"
        )
    }

    fn haproxy_tls(&self) -> String {
        let alpn = self.protocol.alpn().map(|name| format!(" alpn {name}")).unwrap_or_default();
        format!(" ssl crt {}{alpn}", text(&self.certificates.server_pem))
    }
}
