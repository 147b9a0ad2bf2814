//! Server-side apply, case by case, as Kubernetes documents it.

#[allow(dead_code, reason = "each test uses its own part")]
mod support;

use merge::apply::{self, Refused, Share, Write, track};
use schema::Schema;
use serde_json::{Value, json};

/// One object, and who does what to it.
struct Story {
    schema: Schema,
    live: Option<Value>,
    clock: u32,
}

impl Story {
    fn new() -> Story {
        Story { schema: support::deployment(), live: None, clock: 0 }
    }

    fn write<'a>(&'a self, manager: &'a str, time: &'a str) -> Write<'a> {
        Write {
            schema: &self.schema,
            api_version: "apps/v1",
            kind: "Deployment",
            subresource: "",
            share: Share::AllButStatus,
            manager,
            time,
        }
    }

    fn tick(&mut self) -> String {
        self.clock += 1;
        format!("2026-01-01T00:00:{:02}Z", self.clock)
    }

    fn try_apply(&mut self, manager: &str, spec: Value, force: bool) -> Result<(), Refused> {
        let time = self.tick();
        let patch = object(spec);
        let write = self.write(manager, &time);
        self.live = Some(apply::apply(self.live.as_ref(), &patch, &write, force)?);
        Ok(())
    }

    fn apply(&mut self, manager: &str, spec: Value) {
        self.try_apply(manager, spec, false).expect("no conflict");
    }

    fn conflict(&mut self, manager: &str, spec: Value) -> String {
        match self.try_apply(manager, spec, false) {
            Err(Refused::Conflicts(conflicts)) => conflicts.to_string(),
            other => panic!("expected a conflict, got {other:?}"),
        }
    }

    fn refused(&mut self, manager: &str, patch: Value) -> String {
        let write = self.write(manager, "");
        match apply::apply(self.live.as_ref(), &patch, &write, false) {
            Err(Refused::Invalid(text) | Refused::Unexpected(text)) => text,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    fn update(&mut self, manager: &str, change: impl Fn(&mut Value)) {
        let time = self.tick();
        let mut new = self.live.clone().unwrap_or_else(|| object(json!({})));
        change(&mut new);
        track(self.live.as_ref(), &mut new, &self.write(manager, &time));
        self.live = Some(new);
    }

    fn spec(&self) -> Value {
        self.live.as_ref().expect("it is there")["spec"].clone()
    }

    /// `manager operation: fields`, an entry a line.
    fn owners(&self) -> Vec<String> {
        let entries = &self.live.as_ref().expect("it is there")["metadata"]["managedFields"];
        let entries = entries.as_array().cloned().unwrap_or_default();
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("-").to_owned();
        let show = |entry: &Value| {
            let fields = merge::fields::Fields::from_json(&entry["fieldsV1"]).expect("ours");
            let mut paths = Vec::new();
            fields.for_each(&mut |path| paths.push(path.to_string()));
            let (name, operation) = (text(entry, "manager"), text(entry, "operation"));
            format!("{name} {operation}: {}", paths.join(" "))
        };
        entries.iter().map(show).collect()
    }

    fn time_of(&self, manager: &str) -> String {
        let entries = &self.live.as_ref().expect("it is there")["metadata"]["managedFields"];
        let mut entries = entries.as_array().into_iter().flatten();
        let entry = entries.find(|entry| entry["manager"] == manager).expect("it is a manager");
        entry["time"].as_str().expect("it has a time").to_owned()
    }
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn pod(containers: Value) -> Value {
    json!({"template": {"spec": {"containers": containers}}})
}

#[test]
fn the_first_apply_creates_and_owns() {
    let mut story = Story::new();
    story
        .apply("ops", json!({"replicas": 3, "template": {"metadata": {"labels": {"app": "web"}}}}));
    assert_eq!(story.owners(), ["ops Apply: .spec.replicas .spec.template.metadata.labels.app"]);
    assert_eq!(story.spec()["replicas"], 3);
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_the_time() {
    let mut story = Story::new();
    story.apply("ops", json!({"replicas": 3}));
    let before = story.live.clone();
    story.apply("ops", json!({"replicas": 3}));
    assert_eq!(story.live, before);
    story.apply("ops", json!({"replicas": 4}));
    assert_ne!(story.time_of("ops"), "2026-01-01T00:00:01Z");
}

#[test]
fn another_value_for_an_owned_field_is_a_conflict() {
    let mut story = Story::new();
    story.apply("ops", json!({"replicas": 3, "paused": false}));
    assert_eq!(
        story.conflict("other", json!({"replicas": 5})),
        "Apply failed with 1 conflict: conflict with \"ops\": .spec.replicas"
    );
    assert_eq!(
        story.conflict("other", json!({"replicas": 5, "paused": true})),
        "Apply failed with 2 conflicts: conflicts with \"ops\":\n- .spec.paused\n- .spec.replicas"
    );
    assert_eq!(story.spec()["replicas"], 3, "a conflict changes nothing");
}

#[test]
fn updates_own_too_and_conflicts_name_their_version() {
    let mut story = Story::new();
    story.update("kubectl-client-side-apply", |object| object["spec"]["replicas"] = 3.into());
    assert_eq!(
        story.conflict("ops", json!({"replicas": 5})),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: \
         .spec.replicas"
    );
}

#[test]
fn the_same_value_is_shared() {
    let mut story = Story::new();
    story.apply("ops", json!({"replicas": 3}));
    story.apply("other", json!({"replicas": 3}));
    assert_eq!(story.owners(), ["ops Apply: .spec.replicas", "other Apply: .spec.replicas"]);
    assert_eq!(
        story.conflict("ops", json!({"replicas": 4})),
        "Apply failed with 1 conflict: conflict with \"other\": .spec.replicas"
    );
}

#[test]
fn force_takes_what_others_own() {
    let mut story = Story::new();
    story.apply("ops", json!({"replicas": 3, "paused": true}));
    story.try_apply("other", json!({"replicas": 5}), true).expect("forced");
    assert_eq!(story.owners(), ["ops Apply: .spec.paused", "other Apply: .spec.replicas"]);
    assert_eq!(story.spec()["replicas"], 5);
}

#[test]
fn what_is_no_longer_applied_goes_unless_someone_else_owns_it() {
    let mut story = Story::new();
    story.apply("ops", json!({"replicas": 3, "paused": true}));
    story.apply("other", json!({"replicas": 3}));
    story.apply("ops", json!({}));
    assert_eq!(story.spec(), json!({"replicas": 3}));
    assert_eq!(story.owners(), ["other Apply: .spec.replicas", "ops Apply: .spec"]);
}

#[test]
fn replicas_are_handed_to_the_autoscaler() {
    let mut story = Story::new();
    story.apply("ops", json!({"replicas": 3, "paused": false}));
    // The autoscaler takes them by an ordinary update,
    story.update("hpa", |object| object["spec"]["replicas"] = 7.into());
    assert_eq!(story.owners(), ["ops Apply: .spec.paused", "hpa Update: .spec.replicas"]);
    // and who leaves them out keeps its hands off.
    story.apply("ops", json!({"paused": false}));
    assert_eq!(story.spec(), json!({"replicas": 7, "paused": false}));
}

#[test]
fn a_container_that_is_no_longer_applied_goes_and_others_stay() {
    let mut story = Story::new();
    story.apply("ops", pod(json!([{"name": "web", "image": "1"}, {"name": "log", "image": "1"}])));
    story.apply("mesh", pod(json!([{"name": "proxy", "image": "1"}])));
    story.apply("ops", pod(json!([{"name": "web", "image": "2"}])));
    assert_eq!(
        story.spec(),
        pod(json!([{"name": "web", "image": "2"}, {"name": "proxy", "image": "1"}]))
    );
    // What an updater put into an item goes with the item, which is the applier's;
    story.update("hand", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["-v"]);
    });
    story.apply("ops", pod(json!([])));
    assert_eq!(story.spec(), pod(json!([{"name": "proxy", "image": "1"}])));
    // what it put into one of another's stays.
    story.update("hand", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["-v"]);
    });
    story.apply("mesh", pod(json!([{"name": "proxy"}])));
    assert_eq!(story.spec(), pod(json!([{"name": "proxy", "args": ["-v"]}])));
}

#[test]
fn a_keyed_list_may_have_two_keys_and_one_may_be_defaulted() {
    let mut story = Story::new();
    let ports = |ports: Value| pod(json!([{"name": "dns", "ports": ports}]));
    let tcp = json!({"containerPort": 53, "protocol": "TCP"});
    let udp = json!({"containerPort": 53, "protocol": "UDP"});
    story.apply("a", ports(json!([tcp])));
    story.apply("b", ports(json!([udp])));
    assert_eq!(story.spec(), ports(json!([tcp, udp])));
    // Without a protocol it is TCP's.
    story.apply("b", ports(json!([{"containerPort": 53, "name": "x"}, udp])));
    let named = json!({"containerPort": 53, "protocol": "TCP", "name": "x"});
    assert_eq!(story.spec(), ports(json!([named, udp])));
    assert_eq!(
        story.conflict("a", ports(json!([{"containerPort": 53, "name": "y"}]))),
        "Apply failed with 1 conflict: conflict with \"b\": .spec.template.spec.containers\
         [name=\"dns\"].ports[containerPort=53,protocol=\"TCP\"].name"
    );
}

#[test]
fn atomic_values_are_owned_and_replaced_whole() {
    let mut story = Story::new();
    story.apply("ops", json!({"selector": {"matchLabels": {"a": "1"}}}));
    assert_eq!(story.owners(), ["ops Apply: .spec.selector"]);
    assert_eq!(
        story.conflict("other", json!({"selector": {"matchLabels": {"b": "1"}}})),
        "Apply failed with 1 conflict: conflict with \"ops\": .spec.selector"
    );
    story.apply("ops", json!({"selector": {"matchLabels": {"b": "1"}}}));
    assert_eq!(story.spec(), json!({"selector": {"matchLabels": {"b": "1"}}}));
}

#[test]
fn sets_are_owned_value_by_value() {
    let mut story = Story::new();
    story.update("hand", |object| object["metadata"]["finalizers"] = json!(["a", "b"]));
    let time = story.tick();
    let mut patch = object(json!({}));
    patch["metadata"]["finalizers"] = json!(["c"]);
    let write = story.write("ops", &time);
    let live = apply::apply(story.live.as_ref(), &patch, &write, false).expect("no conflict");
    assert_eq!(live["metadata"]["finalizers"], json!(["a", "b", "c"]));
    story.live = Some(live);
    assert!(story.owners()[0].contains(r#".metadata.finalizers[="c"]"#), "{:?}", story.owners());
    patch["metadata"]["finalizers"] = json!(["c", "c"]);
    assert_eq!(
        story.refused("ops", patch),
        "failed to create typed patch object (/web; apps/v1, Kind=Deployment): \
         .metadata.finalizers: duplicate entries for key [=\"c\"]"
    );
}

#[test]
fn patches_of_another_type_are_refused_in_kubernetes_words() {
    let mut story = Story::new();
    let prefix = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): ";
    let cases = [
        (json!({"replica": 1}), ".spec.replica: field not declared in schema"),
        (json!({"replicas": "x"}), ".spec.replicas: expected numeric (int or float), got string"),
        (
            json!({"strategy": {"type": 1}}),
            ".spec.strategy.type: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (json!({"template": [1]}), ".spec.template: expected map, got &{[1]}"),
        (
            pod(json!([{"image": "x"}])),
            ".spec.template.spec.containers: element 0: associative list with keys has an \
             element that omits all key fields [\"name\"] (and doesn't have default values for any \
             key fields)",
        ),
        (
            json!({"a": 1, "b": 2}),
            "errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(story.refused("ops", object(spec)), format!("{prefix}{expected}"));
    }
    let mut odd = object(json!({}));
    odd["apiVersion"] = "v1".into();
    assert_eq!(story.refused("ops", odd), "invalid object type: /v1, Kind=Deployment");
    let mut odd = object(json!({}));
    odd["metadata"]["managedFields"] = json!([]);
    assert_eq!(story.refused("ops", odd), "metadata.managedFields must be nil");
}

#[test]
fn what_was_there_before_the_first_apply_has_an_owner() {
    let mut story = Story::new();
    story.live = Some(object(json!({"replicas": 3})));
    story.apply("ops", json!({"paused": true}));
    assert_eq!(story.owners()[0], "ops Apply: .spec.paused");
    assert!(story.owners()[1].starts_with("before-first-apply Update: "));
    assert_eq!(
        story.conflict("ops", json!({"replicas": 4})),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: \
         .spec.replicas"
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_by_its_annotation() {
    let mut story = Story::new();
    let last = object(json!({"replicas": 3})).to_string();
    let key = "kubectl.kubernetes.io/last-applied-configuration";
    story.update("kubectl-client-side-apply", |object| {
        object["spec"]["replicas"] = 3.into();
        object["metadata"]["annotations"] = json!({key: last});
    });
    assert!(story.conflict("ops", json!({"replicas": 4})).contains("kubectl-client-side-apply"));
    story.apply("kubectl", json!({"replicas": 4}));
    assert_eq!(story.owners()[0], "kubectl Apply: .spec.replicas");
    let annotation =
        story.live.as_ref().expect("it is there")["metadata"]["annotations"][key].clone();
    assert!(
        annotation.as_str().is_some_and(|text| text.contains("\"replicas\":4")),
        "{annotation}"
    );
    // What was changed since the annotation was written is not kubectl's.
    let mut story = Story::new();
    story.update("kubectl-client-side-apply", |object| {
        object["spec"]["replicas"] = 5.into();
        object["metadata"]["annotations"] = json!({key: last});
    });
    assert!(story.conflict("kubectl", json!({"replicas": 4})).contains(".spec.replicas"));
}

#[test]
fn an_update_that_changes_nothing_leaves_the_owners_alone() {
    let mut story = Story::new();
    story.update("a", |object| object["spec"]["replicas"] = 1.into());
    let before = story.live.clone();
    story.update("b", |_| {});
    assert_eq!(story.live, before);
    // Sent back by a client that does not know the field, it stays.
    story.update("b", |object| {
        object["metadata"].as_object_mut().expect("a map").remove("managedFields");
    });
    assert_eq!(story.live, before);
    // What cannot be read is not believed.
    story.update("b", |object| object["metadata"]["managedFields"] = json!([{"operation": "Eat"}]));
    assert_eq!(story.live, before);
}

#[test]
fn an_empty_list_resets_the_owners_until_the_next_apply() {
    for reset in [json!([]), json!([{}])] {
        let mut story = Story::new();
        story.update("a", |object| object["spec"]["replicas"] = 1.into());
        story.update("a", |object| object["metadata"]["managedFields"] = reset.clone());
        assert!(story.owners().is_empty());
        story.update("b", |object| object["spec"]["replicas"] = 2.into());
        assert!(story.owners().is_empty());
        story.apply("ops", json!({"paused": true}));
        assert_eq!(story.owners().len(), 2);
    }
}

#[test]
fn a_status_is_owned_through_its_subresource_only() {
    let mut story = Story::new();
    story.update("a", |object| {
        object["spec"]["replicas"] = 1.into();
        object["status"] = json!({"replicas": 1});
    });
    assert!(!story.owners()[0].contains("status"), "{:?}", story.owners());
    let mut new = story.live.clone().expect("it is there");
    new["status"] = json!({"replicas": 2, "conditions": [{"type": "Ready", "status": "True"}]});
    let write = Write {
        share: Share::Status,
        subresource: "status",
        ..story.write("controller", "2026-01-01T00:01:00Z")
    };
    track(story.live.as_ref(), &mut new, &write);
    let entry = &new["metadata"]["managedFields"][1];
    assert_eq!(entry["subresource"], "status");
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:status": {
            "f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}},
            "f:replicas": {},
        }})
    );
}

#[test]
fn the_oldest_updaters_become_one() {
    let mut story = Story::new();
    for index in 0..14 {
        let label = format!("l{index:02}");
        story.update(&format!("m{index:02}"), |object| {
            object["metadata"]["labels"][&label] = "x".into();
        });
    }
    let owners = story.owners();
    assert_eq!(owners.len(), 10);
    assert!(owners[0].starts_with("ancient-changes Update: "), "{owners:?}");
    assert!(owners[0].contains(".metadata.labels.l04"), "{owners:?}");
    assert!(owners[1].starts_with("m05 "), "{owners:?}");
}

#[test]
fn what_became_atomic_is_owned_whole_by_who_owned_parts() {
    let mut story = Story::new();
    story.apply("ops", json!({"template": {"metadata": {"labels": {"a": "1"}}}}));
    let entries = &mut story.live.as_mut().expect("it is there")["metadata"]["managedFields"];
    entries[0]["fieldsV1"] = json!({"f:spec": {"f:selector": {"f:matchLabels": {"f:a": {}}}}});
    story.apply("other", json!({"paused": true}));
    assert_eq!(story.owners(), ["ops Apply: .spec.selector", "other Apply: .spec.paused"]);
}

/// `b.c/v1` calls `old` what `b.c/v2` calls `new`.
struct Renamed(Schema);

impl apply::Versions for Renamed {
    fn convert(&self, object: &Value, version: &str) -> apply::Converted {
        let (from, to) = match version {
            "b.c/v1" => ("new", "old"),
            "b.c/v2" => ("old", "new"),
            _ => return apply::Converted::Gone,
        };
        let mut object = object.clone();
        object["apiVersion"] = version.into();
        if let Some(value) = object["spec"].as_object_mut().and_then(|spec| spec.remove(from)) {
            object["spec"][to] = value;
        }
        apply::Converted::Object(object)
    }

    fn schema(&self, version: &str) -> Option<&Schema> {
        matches!(version, "b.c/v1" | "b.c/v2").then_some(&self.0)
    }
}

fn applied(
    live: Option<&Value>,
    manager: &str,
    version: &str,
    spec: Value,
) -> Result<Value, Refused> {
    let schema = Schema::default();
    let write = Write {
        schema: &schema,
        api_version: version,
        kind: "A",
        subresource: "",
        share: Share::Whole,
        manager,
        time: "2026-01-01T00:00:00Z",
    };
    let patch =
        json!({"apiVersion": version, "kind": "A", "metadata": {"name": "a"}, "spec": spec});
    // The object is read in the version that is written.
    let versions = Renamed(Schema::default());
    let live = live.map(|live| match apply::Versions::convert(&versions, live, version) {
        apply::Converted::Object(object) => object,
        other => panic!("{other:?}"),
    });
    apply::apply_across(live.as_ref(), &patch, &write, false, &versions)
}

#[test]
fn managers_of_other_versions_are_asked_by_the_names_of_theirs() {
    let live = applied(None, "a", "b.c/v1", json!({"old": 1, "same": 1})).expect("it is new");
    let refused = applied(Some(&live), "b", "b.c/v2", json!({"new": 2}));
    assert!(
        matches!(&refused, Err(Refused::Conflicts(them)) if them.to_string()
            == "Apply failed with 1 conflict: conflict with \"a\": .spec.old"),
        "{refused:?}"
    );
    let live = applied(Some(&live), "b", "b.c/v2", json!({"new": 1})).expect("they agree");
    // What one no longer applies stays for the other, whatever each calls it.
    let live = applied(Some(&live), "a", "b.c/v2", json!({"same": 1})).expect("it is its own");
    assert_eq!(live["spec"], json!({"new": 1, "same": 1}));
    let live = applied(Some(&live), "b", "b.c/v1", json!({"same": 1})).expect("it is its own");
    assert_eq!(live["spec"], json!({"same": 1}));
    let managers = live["metadata"]["managedFields"].as_array().expect("a list");
    let versions: Vec<_> = managers.iter().map(|one| &one["apiVersion"]).collect();
    assert_eq!(versions, ["b.c/v2", "b.c/v1"]);
}

#[test]
fn managers_of_versions_that_are_gone_are_forgotten() {
    let live = applied(None, "a", "b.c/v1", json!({"old": 1})).expect("it is new");
    let text = live.to_string().replace("b.c/v1", "b.c/v0");
    let mut live: Value = serde_json::from_str(&text).expect("JSON");
    live["apiVersion"] = "b.c/v1".into();
    let live = applied(Some(&live), "b", "b.c/v1", json!({"old": 2})).expect("nobody owns it");
    let managers = live["metadata"]["managedFields"].as_array().expect("a list");
    assert_eq!(managers.len(), 1);
}
