//! Services: one address for many pods.

use std::collections::HashSet;

use resources::FieldError;
use serde_json::{Value, json};

use super::check::{Check, at, cidr, int, ip, is_true, len, list, port_name, some, text, texts};
use crate::{
    names,
    object::{self, set_default},
    resource::Rules,
};

pub const RULES: Rules = Rules { default, validate, validate_update, ..Rules::NONE };

/// A day; longer than that no client is remembered.
const AFFINITY_S_MAX: i64 = 86_400;
/// Kubernetes' default: three hours.
const AFFINITY_S: i64 = 10_800;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

fn default(service: &mut Value) {
    let spec = object::child(service, "spec");
    set_default(spec, "type", "ClusterIP");
    set_default(spec, "sessionAffinity", "None");
    let text = |field: &str| spec.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let (kind, affinity) = (text("type"), text("sessionAffinity"));
    if affinity == "None" {
        spec.remove("sessionAffinityConfig");
    } else if affinity == "ClientIP" {
        let known =
            spec.get("sessionAffinityConfig").and_then(|it| it.pointer("/clientIP/timeoutSeconds"));
        if known.is_none_or(Value::is_null) {
            let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_S}});
            spec.insert("sessionAffinityConfig".into(), config);
        }
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        set_default(port, "protocol", "TCP");
        let target = port.get("targetPort");
        if target.is_none_or(|it| it.is_null() || it == 0 || it == "")
            && let Some(number) = port.get("port").cloned()
        {
            port.insert("targetPort".into(), number);
        }
    }
    let external =
        spec.get("externalIPs").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    if matches!(&*kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external) {
        set_default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        set_default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn validate(service: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(service, "spec"));
    let (kind, address) = (text(spec, "type"), text(spec, "clusterIP"));
    let name = object::name(service);
    if let Some(why) = names::label_1035(name).filter(|_| names::subdomain(name).is_none()) {
        check.invalid(format_args!("metadata.name"), name, why);
    }
    let headless = address == "None";
    if len(spec, "ports") == 0 && !headless && kind != "ExternalName" {
        check.required(format_args!("spec.ports"), "");
    }
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    check.one_of(format_args!("spec.type"), kind, &types);
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            check.invalid(format_args!("spec.clusterIPs[0]"), address, detail);
        }
        "ExternalName" => {
            if !address.is_empty() {
                let detail = "may not be set for ExternalName services";
                check.forbidden(format_args!("spec.clusterIPs"), detail);
            }
            let external = text(spec, "externalName");
            let plain = external.strip_suffix('.').unwrap_or(external);
            check.named(format_args!("spec.externalName"), plain, names::subdomain);
        }
        _ => {}
    }
    if !headless && kind != "ExternalName" {
        check.optional(format_args!("spec.clusterIP"), address, ip);
    }
    validate_ports(&mut check, spec, kind, headless);
    check.labels(format_args!("spec.selector"), at(spec, "selector"));
    let affinities = ["ClientIP", "None"];
    check.any_of(format_args!("spec.sessionAffinity"), text(spec, "sessionAffinity"), &affinities);
    if let Some(seconds) = spec.pointer("/sessionAffinityConfig/clientIP/timeoutSeconds")
        && !(1..=AFFINITY_S_MAX).contains(&seconds.as_i64().unwrap_or(0))
    {
        let path = format_args!("spec.sessionAffinityConfig.clientIP.timeoutSeconds");
        let detail = format!("must be greater than 0 and less than {AFFINITY_S_MAX}");
        check.invalid(path, seconds.clone(), detail);
    }
    for (index, address) in texts(spec, "externalIPs") {
        check.named(format_args!("spec.externalIPs[{index}]"), address, ip);
    }
    for (index, range) in texts(spec, "loadBalancerSourceRanges") {
        check.named(format_args!("spec.loadBalancerSourceRanges[{index}]"), range.trim(), cidr);
    }
    if len(spec, "loadBalancerSourceRanges") > 0 && kind != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        check.forbidden(format_args!("spec.loadBalancerSourceRanges"), detail);
    }
    traffic(&mut check, spec, kind);
    check.into_errors()
}

fn traffic(check: &mut Check, spec: &Value, kind: &str) {
    let policies = ["Cluster", "Local"];
    let external = text(spec, "externalTrafficPolicy");
    let path = format_args!("spec.externalTrafficPolicy");
    if !external.is_empty() && kind == "ExternalName" {
        check.invalid(path, external, "may only be set for externally-accessible services");
    }
    check.any_of(path, external, &policies);
    let internal = text(spec, "internalTrafficPolicy");
    check.any_of(format_args!("spec.internalTrafficPolicy"), internal, &policies);
    if let Some(port) = int(spec, "healthCheckNodePort").filter(|port| *port != 0)
        && !(kind == "LoadBalancer" && external == "Local")
    {
        let path = format_args!("spec.healthCheckNodePort");
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is \
                      'Local'";
        check.invalid(path, port, detail);
    }
    if is_true(spec, "allocateLoadBalancerNodePorts") && kind != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        check.forbidden(format_args!("spec.allocateLoadBalancerNodePorts"), detail);
    }
    if some(spec, "loadBalancerClass").is_some() && kind != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        check.forbidden(format_args!("spec.loadBalancerClass"), detail);
    }
    let families = ["IPv4", "IPv6"];
    for (index, family) in texts(spec, "ipFamilies") {
        check.one_of(format_args!("spec.ipFamilies[{index}]"), family, &families);
    }
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    check.any_of(format_args!("spec.ipFamilyPolicy"), text(spec, "ipFamilyPolicy"), &policies);
}

fn validate_ports(check: &mut Check, spec: &Value, kind: &str, headless: bool) {
    let several = len(spec, "ports") > 1;
    let (mut names, mut seen, mut node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (index, port) in list(spec, "ports") {
        let path = format_args!("spec.ports[{index}]");
        let (name, protocol) = (text(port, "name"), text(port, "protocol"));
        if name.is_empty() && several {
            check.required(format_args!("{path}.name"), "");
        }
        check.optional(format_args!("{path}.name"), name, names::label);
        if !name.is_empty() && !names.insert(name) {
            check.duplicate(format_args!("{path}.name"), name);
        }
        let number = int(port, "port").unwrap_or(0);
        check.port(format_args!("{path}.port"), number);
        check.one_of(format_args!("{path}.protocol"), protocol, &PROTOCOLS);
        if !(headless && some(port, "targetPort").is_none()) {
            match at(port, "targetPort") {
                Value::String(name) => {
                    if let Some(why) = port_name(name) {
                        check.invalid(format_args!("{path}.targetPort"), name.as_str(), why);
                    }
                }
                target => {
                    check.port(format_args!("{path}.targetPort"), target.as_i64().unwrap_or(0))
                }
            }
        }
        let app = text(port, "appProtocol");
        check.optional(format_args!("{path}.appProtocol"), app, names::label_key);
        if !seen.insert((protocol, number)) {
            check.duplicate(path, json!({"port": number, "protocol": protocol}));
        }
        let Some(node) = int(port, "nodePort").filter(|node| *node != 0) else { continue };
        let path = format_args!("{path}.nodePort");
        if !matches!(kind, "NodePort" | "LoadBalancer") {
            check.forbidden(path, format!("may not be used when `type` is '{kind}'"));
        }
        if !node_ports.insert((protocol, node)) {
            check.duplicate(path, node);
        }
    }
}

/// An address that clients know does not change under them.
fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    let kept = |spec: &Value| text(spec, "type") != "ExternalName";
    let address = text(old, "clusterIP");
    if kept(new) && kept(old) && !address.is_empty() {
        let now = at(new, "clusterIPs").get(0).unwrap_or(at(new, "clusterIP"));
        if now.as_str().unwrap_or("") != address {
            let shown = json!([now]);
            let detail = "may not change once set";
            check.invalid(format_args!("spec.clusterIPs[0]"), shown, detail);
        }
    }
    let class = at(old, "loadBalancerClass");
    if !class.is_null()
        && text(old, "type") == "LoadBalancer"
        && text(new, "type") == "LoadBalancer"
    {
        let path = format_args!("spec.loadBalancerClass");
        if class != at(new, "loadBalancerClass") {
            check.invalid(path, at(new, "loadBalancerClass").clone(), "may not change once set");
        }
    }
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        let mut service = json!({"metadata": {"name": "s"}, "spec": spec});
        default(&mut service);
        service
    }

    fn check(spec: Value, fault: &str) {
        let errors = validate(&service(spec));
        assert_eq!(errors.first().map(ToString::to_string).unwrap_or_default(), fault);
    }

    #[test]
    fn a_service_gets_what_depends_on_its_type() {
        let spec = service(json!({"ports": [{"port": 80}]}))["spec"].clone();
        assert_eq!(spec["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
        assert_eq!(spec["internalTrafficPolicy"], "Cluster");
        assert_eq!(spec.get("externalTrafficPolicy"), None);
        let spec =
            service(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP"}))["spec"].clone();
        assert_eq!(spec["externalTrafficPolicy"], "Cluster");
        assert_eq!(spec["allocateLoadBalancerNodePorts"], true);
        assert_eq!(spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
    }

    #[test]
    fn services_are_checked() {
        check(json!({"ports": [{"port": 80}]}), "");
        check(json!({"clusterIP": "None"}), "");
        check(json!({}), "spec.ports: Required value");
        check(
            json!({"ports": [{"port": 0}]}),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        );
        check(
            json!({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}),
            "spec.ports[0].name: Required value",
        );
        check(
            json!({"type": "Cluster", "ports": [{"port": 80}]}),
            "spec.type: Unsupported value: \"Cluster\": supported values: \"ClusterIP\", \
             \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        );
        check(json!({"type": "ExternalName"}), "spec.externalName: Required value");
        check(
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        );
    }

    #[test]
    fn an_address_stays() {
        let old = service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}));
        let mut new = old.clone();
        new["spec"]["clusterIP"] = "10.0.0.2".into();
        assert_eq!(
            validate_update(&new, &old)[0].to_string(),
            "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"
        );
        new["spec"]["type"] = "ExternalName".into();
        assert!(validate_update(&new, &old).is_empty());
    }
}
