//! Our own proxy's configuration.

use std::net::SocketAddr;

use super::{Process, Setting, text};
use crate::{
    child::free_address,
    proxy::{
        Protocol, Security,
        users::{STAMP, STAMP_HEADER, USER_HEADER, Unit},
    },
};

// === impl Setting ===

impl Setting<'_> {
    pub(super) fn polis_process(&self, listen: SocketAddr) -> anyhow::Result<Process> {
        let path = self.write("polis.toml", &self.polis_config(listen, free_address()?))?;
        let args = ["proxy", "run", "--config", &text(&path)];
        Ok(Process { args: args.map(str::to_owned).into(), listens: listen })
    }

    fn polis_config(&self, listen: SocketAddr, admin: SocketAddr) -> String {
        let (workers, tls) = (self.plan.workers, self.polis_tls());
        let (protocol, route) = match self.protocol {
            Protocol::Tcp => ("tcp", "cluster = \"echo\"\n".to_owned()),
            _ => (
                "http",
                format!(
                    "key = {{ header = \"{USER_HEADER}\" }}\nmap = \"users\"\n\
                     request_headers = {{ set = {{ {STAMP_HEADER} = \"{STAMP}\" }} }}\n"
                ),
            ),
        };
        let upstream = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Http1 => "http1",
            Protocol::Http2 | Protocol::Grpc => "http2",
        };
        let cluster = |name: &str, address: SocketAddr| {
            format!(
                "[[cluster]]\nname = \"{name}\"\nprotocol = \"{upstream}\"\n\
                 endpoints = [{{ address = \"{address}\" }}]\n"
            )
        };
        let rest = match self.protocol {
            Protocol::Tcp => cluster("echo", self.origin.echo),
            _ => {
                let clusters =
                    Unit::ALL.map(|unit| cluster(unit.name(), self.address_of(unit))).concat();
                let entry = |user: &_| {
                    let crate::proxy::users::User { id, unit } = user;
                    format!("{id} = \"{}\"\n", unit.name())
                };
                let entries: String = self.users.iter().map(entry).collect();
                format!(
                    "{clusters}[[map]]\nname = \"users\"\ndefault = \"a\"\n[map.entries]\n{entries}"
                )
            }
        };
        format!(
            "[admin]\nlisten = \"{admin}\"\n[limits]\nthreads = {workers}\n\
             [[listener]]\nname = \"front\"\naddress = \"{listen}\"\nprotocol = \"{protocol}\"\n{tls}\
             [[listener.route]]\nname = \"all\"\n{route}{rest}"
        )
    }

    fn polis_tls(&self) -> String {
        let files = &self.certificates.server;
        let (cert, key, ca) = (text(&files.cert), text(&files.key), text(&files.ca));
        let ca = format!(", client_ca = \"{ca}\"");
        let ca = match self.security {
            Security::None => return String::new(),
            Security::Tls => "",
            Security::Mtls => &ca,
        };
        format!("tls = {{ cert = \"{cert}\", key = \"{key}\"{ca} }}\n")
    }
}
