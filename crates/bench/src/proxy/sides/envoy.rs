//! Envoy's configuration. What it adds by itself (request ids, headers of its
//! own) is off, because nobody else adds it.

use std::{fmt::Write as _, net::SocketAddr};

use super::{Process, Setting, text};
use crate::{
    child::free_address,
    proxy::{
        Protocol, Security,
        users::{STAMP, STAMP_HEADER, USER_HEADER, Unit},
    },
};

const TYPE: &str = "type.googleapis.com/envoy";

// === impl Setting ===

impl Setting<'_> {
    pub(super) fn envoy(&self, listen: SocketAddr) -> anyhow::Result<Process> {
        let path = self.write("envoy.yaml", &self.envoy_config(listen, free_address()?))?;
        let args = [
            "-c",
            &text(&path),
            "--concurrency",
            &self.plan.workers.to_string(),
            "--disable-hot-restart",
            "--log-level",
            "error",
        ];
        Ok(Process { args: args.map(str::to_owned).into(), listens: listen })
    }

    fn envoy_config(&self, listen: SocketAddr, admin: SocketAddr) -> String {
        let filter = match self.protocol {
            Protocol::Tcp => format!(
                "      - name: tcp\n        typed_config: {{\"@type\": {TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: front, cluster: echo}}\n"
            ),
            _ => self.envoy_http(),
        };
        let clusters = match self.protocol {
            Protocol::Tcp => self.envoy_cluster("echo", self.origin.echo),
            _ => Unit::ALL
                .map(|unit| self.envoy_cluster(unit.name(), self.address_of(unit)))
                .concat(),
        };
        format!(
            "admin:\n  address: {}\n\
             static_resources:\n  listeners:\n  - name: front\n    address: {}\n    \
             filter_chains:\n    - filters:\n{filter}{}  \
             clusters:\n{clusters}",
            socket(admin),
            socket(listen),
            self.envoy_tls(),
        )
    }

    fn envoy_http(&self) -> String {
        let codec = if self.protocol.is_http2() { "HTTP2" } else { "HTTP1" };
        let mut out = format!(
            "      - name: http
        typed_config:
          \"@type\": {TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          codec_type: {codec}
          generate_request_id: false
          http_filters:
          - name: router
            typed_config: {{\"@type\": {TYPE}.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}
          route_config:
            name: units
            request_headers_to_add:
            - header: {{key: {STAMP_HEADER}, value: {STAMP}}}
              append_action: OVERWRITE_IF_EXISTS_OR_ADD
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              matcher:
                matcher_tree:
                  input:
                    name: user
                    typed_config: {{\"@type\": {TYPE}.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: {USER_HEADER}}}
                  exact_match_map:
                    map:
"
        );
        for user in self.users {
            let (id, unit) = (&user.id, user.unit.name());
            writeln!(
                out,
                "                      \"{id}\": {{action: {{name: route, typed_config: {{\"@type\": {TYPE}.config.route.v3.Route, match: {{prefix: /}}, route: {{cluster: {unit}, timeout: 0s}}}}}}}}"
            )
            .expect("a string takes everything");
        }
        out
    }

    fn envoy_tls(&self) -> String {
        let files = &self.certificates.server;
        let (cert, key, ca) = (text(&files.cert), text(&files.key), text(&files.ca));
        let alpn = self.protocol.alpn();
        let alpn = alpn.map(|name| format!("alpn_protocols: [\"{name}\"], ")).unwrap_or_default();
        let (require, trusted) = match self.security {
            Security::None => return String::new(),
            Security::Tls => (false, String::new()),
            Security::Mtls => {
                (true, format!(", validation_context: {{trusted_ca: {{filename: {ca}}}}}"))
            }
        };
        format!(
            "      transport_socket:\n        name: tls\n        typed_config:\n          \
             \"@type\": {TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext\n          \
             require_client_certificate: {require}\n          \
             common_tls_context: {{{alpn}tls_params: {{tls_maximum_protocol_version: TLSv1_3}}, \
             tls_certificates: [{{certificate_chain: {{filename: {cert}}}, \
             private_key: {{filename: {key}}}}}]{trusted}}}\n"
        )
    }

    fn envoy_cluster(&self, name: &str, address: SocketAddr) -> String {
        let protocol = if self.protocol.is_http2() {
            format!(
                "    typed_extension_protocol_options:\n      \
                 envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{\"@type\": {TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{http2_protocol_options: {{}}}}}}\n"
            )
        } else {
            String::new()
        };
        let socket = socket(address);
        format!(
            "  - name: {name}\n    type: STATIC\n    connect_timeout: 5s\n    \
             circuit_breakers: {{thresholds: [{{max_connections: 100000, \
             max_pending_requests: 100000, max_requests: 100000}}]}}\n{protocol}    \
             load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
             [{{endpoint: {{address: {socket}}}}}]}}]}}\n"
        )
    }
}

fn socket(address: SocketAddr) -> String {
    format!("{{socket_address: {{address: {}, port_value: {}}}}}", address.ip(), address.port())
}
