//! Columns that a definition adds to tables.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{definition::Version, json_path::JsonPath};
use crate::{object, table::duration};

/// A column that a definition adds to tables.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub format: String,
    pub about: String,
    pub priority: i64,
    path: JsonPath,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Number,
    Text,
    Boolean,
    Date,
}

// === impl Column ===

impl Column {
    /// The columns of a version; without any, the age. A path that cannot be
    /// read ends them, as in Kubernetes.
    pub fn of(version: Version<'_>) -> Vec<Column> {
        let told = version.list("additionalPrinterColumns");
        let columns: Vec<Column> = told.map_while(|(_, told)| Column::read(told)).collect();
        match version.list("additionalPrinterColumns").next() {
            Some(_) => columns,
            None => vec![Column::age()],
        }
    }

    fn read(told: &Value) -> Option<Column> {
        let text = |name: &str| told[name].as_str().unwrap_or_default();
        let path = text("jsonPath");
        let about = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            about => about.to_owned(),
        };
        Some(Column {
            name: text("name").to_owned(),
            kind: Kind::parse(text("type")),
            format: text("format").to_owned(),
            about,
            priority: told["priority"].as_i64().unwrap_or(0),
            path: JsonPath::parse(path)?,
        })
    }

    fn age() -> Column {
        let about = "CreationTimestamp is a timestamp representing the server time when this \
                     object was created.";
        Column {
            name: "Age".to_owned(),
            kind: Kind::Date,
            format: String::new(),
            about: about.to_owned(),
            priority: 0,
            path: JsonPath::parse(".metadata.creationTimestamp").expect("it is a path"),
        }
    }

    pub fn definition(&self) -> Value {
        json!({"name": self.name, "type": self.kind.as_str(), "format": self.format,
            "description": self.about, "priority": self.priority})
    }

    pub fn cell(&self, object: &Value, now: OffsetDateTime) -> Value {
        let Some(found) = self.path.first(object) else { return Value::Null };
        match (self.kind, found) {
            (Kind::Integer, Value::Number(number)) => match number.as_i64() {
                Some(integer) => integer.into(),
                #[allow(clippy::cast_possible_truncation)] // As Kubernetes cuts it.
                None => number.as_f64().map_or(Value::Null, |float| (float as i64).into()),
            },
            (Kind::Number, Value::Number(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Text, Value::String(_)) => found.clone(),
            (Kind::Text, Value::Null) => "<nil>".into(),
            (Kind::Text, other) => other.to_string().into(),
            (Kind::Date, Value::String(text)) => match object::parse_timestamp(text) {
                Some(at) => duration::human(now - at).into(),
                None => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

// === impl Kind ===

impl Kind {
    fn parse(text: &str) -> Kind {
        match text {
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "date" => Kind::Date,
            _ => Kind::Text,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Date => "date",
            Kind::Text => "string",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_of_the_columns_type() {
        let now = object::parse_timestamp("2026-01-02T00:00:00Z").expect("it is a time");
        let object = json!({"spec": {"n": 3, "f": 1.5, "b": true, "t": "x", "l": [1, 2]},
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}});
        let cell = |kind: &str, path: &str| {
            let told = json!({"name": "A", "type": kind, "jsonPath": path});
            Column::read(&told).expect("the path is one").cell(&object, now)
        };
        assert_eq!(cell("integer", ".spec.n"), 3);
        assert_eq!(cell("integer", ".spec.f"), 1);
        assert_eq!(cell("integer", ".spec.t"), Value::Null);
        assert_eq!(cell("number", ".spec.f"), 1.5);
        assert_eq!(cell("boolean", ".spec.b"), true);
        assert_eq!(cell("string", ".spec.n"), "3");
        assert_eq!(cell("string", ".spec.l"), "[1,2]");
        assert_eq!(cell("string", ".spec.nothing"), Value::Null);
        assert_eq!(cell("date", ".metadata.creationTimestamp"), "24h");
        assert_eq!(cell("date", ".spec.t"), "<invalid>");
    }

    #[test]
    fn without_columns_there_is_the_age() {
        let version = json!({"name": "v1"});
        let names = |version: &Value| -> Vec<String> {
            Column::of(Version(version)).into_iter().map(|column| column.name).collect()
        };
        assert_eq!(names(&version), ["Age"]);
        let told = json!({"additionalPrinterColumns": [
            {"name": "A", "type": "string", "jsonPath": ".a"},
            {"name": "B", "type": "string", "jsonPath": ".b["}]});
        assert_eq!(names(&told), ["A"]);
    }
}
