//! Schedules of five fields, as crontab has them. Only whether they are right:
//! what follows from them is for who makes the Jobs.

/// Name, least, most, and the names of its values from `least` on.
type Field = (&'static str, u32, u32, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &MONTHS),
    ("day of week", 0, 6, &DAYS),
];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const NAMED: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a schedule.
pub fn fault(schedule: &str) -> Option<String> {
    if schedule.starts_with('@') {
        let every = schedule.strip_prefix("@every ");
        return match every {
            Some(duration) if is_duration(duration) => None,
            Some(duration) => Some(format!(
                "failed to parse duration @every {duration}: time: invalid duration \"{duration}\""
            )),
            None if NAMED.contains(&schedule) => None,
            None => Some(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<_> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let list = fields.join(" ");
        return Some(format!("expected exactly 5 fields, found {}: [{list}]", fields.len()));
    }
    let ranges = fields.iter().zip(&FIELDS);
    let mut faults = ranges
        .flat_map(|(text, field)| text.split(',').filter_map(|part| range_fault(part, field)));
    faults.next()
}

/// `*`, `5`, `1-5`, each with a step behind `/`.
fn range_fault(part: &str, (_, least, most, names): &Field) -> Option<String> {
    let (range, step) = match part.split_once('/') {
        Some((_, step)) if step.contains('/') => return Some(format!("too many slashes: {part}")),
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let value = |text: &str| -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(index) = names.iter().position(|name| **name == *lower) {
            return Ok(least + u32::try_from(index).expect("at most 12 names"));
        }
        text.parse().map_err(|_| {
            format!(
                "failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax"
            )
        })
    };
    let bounds = || -> Result<(u32, u32), String> {
        if matches!(range, "*" | "?") {
            return Ok((*least, *most));
        }
        match range.split_once('-') {
            Some((_, end)) if end.contains('-') => Err(format!("too many hyphens: {part}")),
            Some((start, end)) => Ok((value(start)?, value(end)?)),
            None => {
                let start = value(range)?;
                Ok((start, if step.is_some() { *most } else { start }))
            }
        }
    };
    let (start, end) = match bounds() {
        Ok(bounds) => bounds,
        Err(fault) => return Some(fault),
    };
    let step = match step.map(&value) {
        Some(Err(fault)) => return Some(fault),
        Some(Ok(step)) => step,
        None => 1,
    };
    match () {
        () if start < *least => {
            Some(format!("beginning of range ({start}) below minimum ({least}): {part}"))
        }
        () if end > *most => Some(format!("end of range ({end}) above maximum ({most}): {part}")),
        () if start > end => {
            Some(format!("beginning of range ({start}) beyond end of range ({end}): {part}"))
        }
        () if step == 0 => Some(format!("step of range should be a positive number: {part}")),
        () => None,
    }
}

/// Go's `1h30m`.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits =
            rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.').len();
        let after = &rest[digits..];
        let units = ["ms", "us", "µs", "ns", "h", "m", "s"];
        let Some(unit) = units.iter().find(|unit| after.starts_with(**unit)) else { return false };
        if digits == 0 || rest[..digits].parse::<f64>().is_err() {
            return false;
        }
        rest = &after[unit.len()..];
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn schedules_are_read_as_cron_does() {
        for right in [
            "* * * * *",
            "*/5 0-6,12 1 jan-mar MON",
            "0 0 ? * 6",
            "5/15 * * * *",
            "@daily",
            "@every 1h30m",
        ] {
            assert_eq!(fault(right), None, "{right}");
        }
        for (wrong, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(fault(wrong).as_deref(), Some(why), "{wrong}");
        }
        assert!(
            fault("x * * * *").is_some_and(|why| why.starts_with("failed to parse int from x"))
        );
        assert!(fault("@every soon").is_some() && fault("@every ").is_some());
    }
}
