//! ObjectMeta, and the frame that every kind has.

use super::{Field, Schema, Shape, optional};

const TEXTS: &Schema = &Schema { about: "", shape: Shape::Text };

const ANYTHING: &Schema = &Schema { about: "", shape: Shape::Any };

pub(super) const API_VERSION: Field =
    optional("apiVersion", "The group and version of this object's kind.", Shape::Text);

pub(super) const KIND: Field = optional("kind", "The kind of this object.", Shape::Text);

pub(super) const METADATA: Field = Field {
    name: "metadata",
    required: true,
    schema: Schema {
        about: "Name, labels and what the server keeps about the object.",
        shape: Shape::Object(META_FIELDS),
    },
};

const META_FIELDS: &[Field] = &[
    optional("name", "Unique among the objects of its kind and namespace.", Shape::Text),
    optional("generateName", "Prefix of a name that the server makes unique.", Shape::Text),
    optional("namespace", "The namespace it lives in.", Shape::Text),
    optional("labels", "Keys and values to select by.", Shape::Map(TEXTS)),
    optional("annotations", "Keys and values for tools; not selected by.", Shape::Map(TEXTS)),
    optional("uid", "Unique over time; set by the server.", Shape::Text),
    optional("resourceVersion", "Compared on update; set by the server.", Shape::Text),
    optional("generation", "Counts changes of the wanted state.", Shape::Integer),
    optional("creationTimestamp", "When it was created.", Shape::Text),
    optional("deletionTimestamp", "When it is to be gone.", Shape::Text),
    optional("deletionGracePeriodSeconds", "How long it may take to go.", Shape::Integer),
    optional("ownerReferences", "Objects this one belongs to.", Shape::List(ANYTHING)),
    optional("finalizers", "Who must agree before it goes.", Shape::List(TEXTS)),
    optional("managedFields", "Who owns which field.", Shape::Any),
    optional("selfLink", "Not set by this server.", Shape::Text),
];
