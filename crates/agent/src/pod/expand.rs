//! `$(NAME)` in commands and environments, by Kubernetes' rules: a known name is
//! replaced, an unknown one stays as it is, `$$` is one dollar.

/// `lookup` gives the value of a name.
pub(crate) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
        {
            match lookup(name) {
                Some(value) => expanded.push_str(value),
                None => {
                    expanded.push_str("$(");
                    expanded.push_str(name);
                    expanded.push(')');
                }
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_as_kubernetes_does() {
        let check = |text: &str, expected: &str| {
            let lookup = |name: &str| (name == "PORT").then_some("20001");
            assert_eq!(expand(text, lookup), expected, "{text}");
        };
        check("--listen=127.0.0.1:$(PORT)", "--listen=127.0.0.1:20001");
        check("$(PORT)$(PORT)", "2000120001");
        check("$(OTHER)", "$(OTHER)");
        check("$$(PORT)", "$(PORT)");
        check("$$$(PORT)", "$20001");
        check("cost: 5$", "cost: 5$");
        check("$(PORT", "$(PORT");
        check("$PORT", "$PORT");
    }
}
