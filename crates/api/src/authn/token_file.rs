//! Tokens from a file that an operator wrote: `token,user,uid,"group1,group2"`.

use std::collections::HashMap;

use crate::caller::Caller;

/// Callers by their token.
#[derive(Default)]
pub struct TokenFile(HashMap<String, Caller>);

// === impl TokenFile ===

impl TokenFile {
    pub fn parse(text: &str) -> Result<TokenFile, String> {
        let mut callers = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let fields =
                fields(line).ok_or_else(|| format!("line {}: a quote is open", number + 1))?;
            let [token, user, uid, rest @ ..] = fields.as_slice() else {
                return Err(format!(
                    "line {}: token file must have at least 3 columns (token, user name, user uid), found {}",
                    number + 1,
                    fields.len()
                ));
            };
            if token.is_empty() {
                continue;
            }
            let groups = rest.first().map(|groups| groups.split(',')).into_iter().flatten();
            let groups = groups.filter(|group| !group.is_empty()).map(str::to_owned);
            callers.insert(token.clone(), Caller::user(user.clone(), groups).with_uid(uid.clone()));
        }
        Ok(TokenFile(callers))
    }

    pub fn find(&self, token: &str) -> Option<&Caller> {
        self.0.get(token)
    }
}

/// One record of comma-separated values; a quote is doubled inside quotes.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            // After a comma, as people write it.
            ' ' if !quoted && field.is_empty() => {}
            c => field.push(c),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_caller() {
        let file =
            TokenFile::parse("t1,ann,7,\"dev,ops\"\n\nt2,bob,8\n,nobody,9\n").expect("parses");
        let ann = file.find("t1").expect("known");
        assert_eq!((&*ann.name, &*ann.uid), ("ann", "7"));
        assert_eq!(ann.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(file.find("t2").expect("known").groups, ["system:authenticated"]);
        assert!(file.find("").is_none() && file.find("t").is_none());
        assert!(TokenFile::parse("t,u").is_err() && TokenFile::parse("t,u,1,\"a").is_err());
    }
}
