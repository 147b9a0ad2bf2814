//! The stock helm: a chart with hooks and definitions of its own is installed,
//! upgraded, taken back and removed.

use std::{fs, path::Path, process::Command};

use e2e::{ApiServer, peer};

const CHART: &[(&str, &str)] = &[
    ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\nappVersion: '1'\n"),
    ("values.yaml", "colour: red\nsize: 2\n"),
    (
        "crds/widgets.yaml",
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, minimum: 1}, shape: {type: string, default: round}}
",
    ),
    (
        "templates/settings.yaml",
        "apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {colour: {{ .Values.colour }}}
",
    ),
    (
        "templates/widget.yaml",
        "apiVersion: example.com/v1
kind: Widget
metadata: {name: {{ .Release.Name }}}
spec: {size: {{ .Values.size }}}
",
    ),
    (
        "templates/web.yaml",
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.size }}
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: web, image: 'shop:1', env: [{name: COLOUR, value: {{ .Values.colour }}}]}]}
",
    ),
    (
        "templates/before.yaml",
        "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-before-{{ .Release.Revision }}
  annotations: {helm.sh/hook: 'pre-install,pre-upgrade,pre-rollback'}
data: {colour: {{ .Values.colour }}}
",
    ),
];

fn helm(server: &ApiServer, args: &[&str]) -> String {
    let home = server.path("helm");
    let mut helm = Command::new(peer("helm"));
    helm.args(args).arg("--kubeconfig").arg(server.kubeconfig());
    for (name, folder) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config")] {
        helm.env(name, home.join(folder));
    }
    let output = helm.env("HELM_DATA_HOME", home.join("data")).output().expect("run helm");
    let (printed, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "helm {args:?}: {printed}{error}");
    printed.into_owned()
}

fn write(chart: &Path) {
    for (name, text) in CHART {
        let file = chart.join(name);
        fs::create_dir_all(file.parent().expect("it has a folder")).expect("make a folder");
        fs::write(file, text).expect("write a file of the chart");
    }
}

#[test]
fn a_chart_with_hooks_and_definitions_comes_changes_goes_back_and_goes() {
    let server = ApiServer::start("api-helm", &[]);
    let chart = server.path("shop");
    write(&chart);
    let chart = chart.display().to_string();
    let shown =
        |what: &str, path: &str| server.done(&["get", what, "-o", &format!("jsonpath={path}")]);

    let installed = helm(&server, &["install", "one", &chart]);
    assert!(installed.contains("STATUS: deployed"), "{installed}");
    assert_eq!(shown("configmap/one-settings", "{.data.colour}"), "red");
    assert_eq!(shown("widget/one", "{.spec.size} {.spec.shape}"), "2 round");
    assert_eq!(shown("configmap/one-before-1", "{.data.colour}"), "red");

    helm(&server, &["upgrade", "one", &chart, "--set", "colour=blue,size=5"]);
    assert_eq!(shown("configmap/one-settings", "{.data.colour}"), "blue");
    assert_eq!(shown("widget/one", "{.spec.size}"), "5");
    assert_eq!(shown("deployment/one", "{.spec.replicas}"), "5");
    let colour = "{.spec.template.spec.containers[0].env[0].value}";
    assert_eq!(shown("deployment/one", colour), "blue");

    helm(&server, &["rollback", "one", "1"]);
    assert_eq!(shown("configmap/one-settings", "{.data.colour}"), "red");
    assert_eq!(shown("deployment/one", "{.spec.replicas}"), "2");
    let history = helm(&server, &["history", "one"]);
    assert!(history.contains("superseded") && history.contains("Rollback to 1"), "{history}");
    assert!(helm(&server, &["list"]).contains("shop-1.0.0"));
    let secrets = server.done(&["get", "secret", "-l", "owner=helm", "-o", "name"]);
    assert_eq!(secrets.lines().count(), 3, "{secrets}");

    helm(&server, &["uninstall", "one"]);
    let left = server.done(&["get", "configmap,widget,deployment", "-o", "name"]);
    assert!(!left.contains("one-settings") && !left.contains("widget"), "{left}");
}
