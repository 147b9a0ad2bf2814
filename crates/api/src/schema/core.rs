//! Kubernetes' own kinds: their frame. What is inside `spec` and `status` is
//! kept as it comes, so that fields of newer releases survive.

use super::{
    Field, Schema, Shape,
    meta::{API_VERSION, KIND, METADATA},
    optional,
};

const TEXTS: &Schema = &Schema { about: "", shape: Shape::Text };

const SPEC: Field = optional("spec", "The wanted state.", Shape::Any);

const STATUS: Field = optional("status", "The observed state.", Shape::Any);

const SPEC_AND_STATUS: &[Field] = &[API_VERSION, KIND, METADATA, SPEC, STATUS];

pub static POD: Schema = Schema {
    about: "Pod is a group of processes that run together on one node.",
    shape: Shape::Object(SPEC_AND_STATUS),
};

pub static NODE: Schema = Schema {
    about: "Node is a machine, or what an agent offers of one.",
    shape: Shape::Object(SPEC_AND_STATUS),
};

pub static NAMESPACE: Schema =
    Schema { about: "Namespace is a scope for names.", shape: Shape::Object(SPEC_AND_STATUS) };

pub static LEASE: Schema = Schema {
    about: "Lease says who holds something, and until when.",
    shape: Shape::Object(&[API_VERSION, KIND, METADATA, SPEC]),
};

pub static CONFIG_MAP: Schema = Schema {
    about: "ConfigMap holds configuration as text.",
    shape: Shape::Object(&[
        API_VERSION,
        KIND,
        METADATA,
        optional("data", "Text by key.", Shape::Map(TEXTS)),
        optional("binaryData", "Bytes by key, in base64.", Shape::Map(TEXTS)),
        optional("immutable", "Whether the data may never change.", Shape::Boolean),
    ]),
};

pub static EVENT: Schema = Schema {
    about: "Event is a remark about another object; it is kept for an hour.",
    shape: Shape::Object(&[
        API_VERSION,
        KIND,
        METADATA,
        optional("involvedObject", "What it is about.", Shape::Any),
        optional("reason", "Why, in one word.", Shape::Text),
        optional("message", "What happened, for people.", Shape::Text),
        optional("type", "Normal or Warning.", Shape::Text),
        optional("source", "Who says so.", Shape::Any),
        optional("firstTimestamp", "When it was first seen.", Shape::Text),
        optional("lastTimestamp", "When it was last seen.", Shape::Text),
        optional("eventTime", "When it was seen, to the microsecond.", Shape::Text),
        optional("count", "How often it was seen.", Shape::Integer),
        optional("series", "A run of the same event.", Shape::Any),
        optional("action", "What was done.", Shape::Text),
        optional("related", "A second object it is about.", Shape::Any),
        optional("reportingComponent", "Who says so, by name.", Shape::Text),
        optional("reportingInstance", "Which instance says so.", Shape::Text),
    ]),
};
