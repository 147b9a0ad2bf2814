//! Names as DNS has them, for definitions.

const LABEL_LEN_MAX: usize = 63;

/// What is wrong with an RFC 1035 label, or none.
pub fn label_1035(name: &str) -> Option<String> {
    let mut wrong = Vec::new();
    if name.len() > LABEL_LEN_MAX {
        wrong.push(format!("must be no more than {LABEL_LEN_MAX} characters"));
    }
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let holds = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(inner)
        && !name.ends_with('-');
    if !holds {
        wrong.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character (e.g. \
             'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    (!wrong.is_empty()).then(|| wrong.join(","))
}
