//! nginx's configuration.
//!
//! A process for each worker, since a worker of a common master outlives a
//! master that is killed. HTTP/2 ends here, as it does in this version: the
//! origin is asked by HTTP/1.1; gRPC goes on as HTTP/2.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{Process, Setting, text};
use crate::{
    child::free_address,
    proxy::{
        Protocol, Security,
        users::{STAMP, STAMP_HEADER, Unit},
    },
};

/// Connections to an origin that are kept.
const KEPT: usize = 1024;

// === impl Setting ===

impl Setting<'_> {
    pub(super) fn nginx(&self, binary: &Path, listen: SocketAddr) -> anyhow::Result<Vec<Process>> {
        let users = self.users.iter().map(|user| format!("{} {};\n", user.id, user.unit.name()));
        let map = self.write("nginx.map", &users.collect::<String>())?;
        let process = |n| {
            let metrics = free_address()?;
            let config = self.nginx_config(binary, n, listen, metrics, &text(&map));
            let path = self.write(&format!("nginx-{n}.conf"), &config)?;
            let folder = self.folder.join(format!("nginx-{n}"));
            fs::create_dir_all(&folder).context("make a folder for nginx")?;
            let args = ["-p", &text(&folder), "-c", &text(&path), "-e", "stderr"];
            Ok(Process { args: args.map(str::to_owned).into(), listens: metrics })
        };
        (0..self.plan.workers).map(process).collect()
    }

    fn nginx_config(
        &self,
        binary: &Path,
        n: usize,
        listen: SocketAddr,
        metrics: SocketAddr,
        map: &str,
    ) -> String {
        let module = match self.protocol {
            Protocol::Tcp => stream_module(binary),
            _ => None,
        };
        let module = module.map(|path| format!("load_module {};\n", text(&path)));
        let module = module.unwrap_or_default();
        let traffic = match self.protocol {
            Protocol::Tcp => self.nginx_stream(listen),
            _ => String::new(),
        };
        let http = match self.protocol {
            Protocol::Tcp => String::new(),
            _ => self.nginx_http(listen, map),
        };
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {name};\n"))
            .concat();
        format!(
            "{module}daemon off;\nmaster_process off;\npid nginx-{n}.pid;\nerror_log stderr error;\n\
             events {{ worker_connections 16384; }}\n\
             {traffic}\
             http {{\n    access_log off;\n{folders}{http}    \
             server {{ listen {metrics}; location / {{ stub_status; }} }}\n}}\n"
        )
    }

    fn nginx_http(&self, listen: SocketAddr, map: &str) -> String {
        let upstreams = Unit::ALL.map(|unit| {
            let (name, address) = (unit.name(), self.address_of(unit));
            format!(
                "    upstream {name} {{ server {address}; keepalive {KEPT}; \
                 keepalive_requests 1000000000; keepalive_time 24h; }}\n"
            )
        });
        let upstreams = upstreams.concat();
        let ssl = if self.security == Security::None { "" } else { " ssl" };
        let http2 = if self.protocol.is_http2() { " http2" } else { "" };
        let tls = self.nginx_tls();
        let location = match self.protocol {
            Protocol::Grpc => {
                format!("grpc_set_header {STAMP_HEADER} {STAMP}; grpc_pass grpc://$unit;")
            }
            _ => format!(
                "proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                 proxy_set_header {STAMP_HEADER} {STAMP}; proxy_pass http://$unit;"
            ),
        };
        format!(
            "    keepalive_requests 1000000000;\n    keepalive_time 24h;\n    \
             keepalive_timeout 1h;\n    map_hash_max_size 8192;\n    map_hash_bucket_size 128;\n    \
             map $http_polis_uid $unit {{ default a; include {map}; }}\n\
             {upstreams}    \
             server {{\n        listen {listen}{ssl}{http2} reuseport backlog=4096;\n{tls}        \
             location / {{ {location} }}\n    }}\n"
        )
    }

    fn nginx_stream(&self, listen: SocketAddr) -> String {
        let ssl = if self.security == Security::None { "" } else { " ssl" };
        let (tls, echo) = (self.nginx_tls(), self.origin.echo);
        format!(
            "stream {{\n    server {{\n        listen {listen}{ssl} reuseport backlog=4096;\n\
             {tls}        tcp_nodelay on;\n        proxy_timeout 1h;\n        proxy_pass {echo};\n    \
             }}\n}}\n"
        )
    }

    fn nginx_tls(&self) -> String {
        let files = &self.certificates.server;
        let (cert, key, ca) = (text(&files.cert), text(&files.key), text(&files.ca));
        let certificate = format!(
            "        ssl_certificate {cert};\n        ssl_certificate_key {key};\n        \
             ssl_protocols TLSv1.3;\n"
        );
        match self.security {
            Security::None => String::new(),
            Security::Tls => certificate,
            Security::Mtls => format!(
                "{certificate}        ssl_client_certificate {ca};\n        ssl_verify_client on;\n"
            ),
        }
    }
}

/// Beside the program, or where Debian has it; None if it is built in.
fn stream_module(binary: &Path) -> Option<PathBuf> {
    const MODULE: &str = "usr/lib/nginx/modules/ngx_stream_module.so";
    let beside = binary.parent().and_then(Path::parent).map(|tree| tree.join(MODULE));
    let roots = beside.into_iter().chain([Path::new("/").join(MODULE)]);
    roots.map(|path| path.canonicalize().unwrap_or(path)).find(|path| path.is_file())
}
