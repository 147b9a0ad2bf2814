//! What `kubectl version` prints of us.

use serde_json::{Value, json};

/// The release of the Kubernetes API whose behaviour is followed.
pub const GIT_VERSION: &str = "v1.37.0+polis";

pub fn show() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        "polisVersion": env!("CARGO_PKG_VERSION"),
    })
}
