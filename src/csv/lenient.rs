//! Values that mean something, though the binding writes them otherwise.

use crate::roster::{Field, Kind};

/// The value in the binding's form; none when it is in it already, or cannot be brought into it.
pub fn repaired(field: &Field, raw: &str) -> Option<String> {
    let value = match field.kind {
        Kind::Flag => Some(raw.trim().to_ascii_lowercase()).filter(|v| ["true", "false"].contains(&v.as_str())),
        Kind::Date => date(raw.trim()),
        Kind::TextList | Kind::GuidRefList | Kind::UserIds => {
            let items: Vec<&str> = raw.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
            Some(items.join(","))
        }
        Kind::Year | Kind::GuidRef | Kind::Guid | Kind::Integer | Kind::Token(_) => Some(raw.trim().to_owned()),
        Kind::Text => None,
    };
    value.filter(|value| value != raw)
}

/// `2024/4/1` and `2024-04-01T00:00:00Z` are 2024-04-01.
fn date(raw: &str) -> Option<String> {
    let day = raw.split(['T', ' ']).next()?;
    let parts: Vec<&str> = day.split(['-', '/', '.']).collect();
    let [year, month, day] = parts[..] else { return None };
    let number = |text: &str, most: usize| {
        let fits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| fits)
    };
    if year.len() != 4 {
        return None;
    }
    Some(format!("{:04}-{:02}-{:02}", number(year, 4)?, number(month, 2)?, number(day, 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::field;

    #[test]
    fn values_are_brought_into_the_binding_s_form() {
        let is = |field: Field, raw: &str, value: Option<&str>| assert_eq!(repaired(&field, raw).as_deref(), value);
        is(field::flag("primary"), "TRUE", Some("true"));
        is(field::flag("primary"), "yes", None);
        is(field::date("beginDate"), "2024/4/1", Some("2024-04-01"));
        is(field::date("beginDate"), "2024-04-01T00:00:00Z", Some("2024-04-01"));
        is(field::date("beginDate"), "R6.4.1", None);
        is(field::list("grades"), "P1, P2,", Some("P1,P2"));
        is(field::text("title"), " a", None);
    }
}
