//! The last word of a command: a `Status` of the Kubernetes API, from which
//! clients take how it ended.

use runtime::Exit;
use serde_json::json;

pub(crate) fn of_exit(exit: Exit) -> String {
    match exit.code() {
        0 => success(),
        code => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!(
                "command terminated with non-zero exit code: command terminated with exit code {code}"
            ),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        })
        .to_string(),
    }
}

pub(crate) fn success() -> String {
    json!({ "metadata": {}, "status": "Success" }).to_string()
}

/// It did not end, or not by itself.
pub(crate) fn failed(why: &str) -> String {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {why}"),
        "reason": "InternalError",
        "details": { "causes": [{ "message": why }] },
        "code": 500,
    })
    .to_string()
}
