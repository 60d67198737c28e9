//! Typed conditions on records, for gateways whose filters are data rather than text.

use chrono::{DateTime, NaiveDate, Utc};

use super::filter::Operator;
use super::path::{Form, Operand};
use super::sql::{Parameters, Value, compare, expression};

/// A condition on a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// All hold; true when there are none.
    And(Vec<Predicate>),
    /// One holds; false when there are none.
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
    Is(Operand, Test),
}

/// What is asked of one operand. An absent value passes no test but `Absent` and `NotEqual`.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Text(Operator, String),
    Flag(Operator, bool),
    Date(Operator, NaiveDate),
    Time(Operator, DateTime<Utc>),
    StartsWith(String),
    /// One of these texts.
    In(Vec<String>),
    /// Of a list: one of these is in it.
    Any(Vec<String>),
    /// Of a list: all of these are in it.
    All(Vec<String>),
    /// Whether there is no value, or no item.
    Absent(bool),
}

impl Predicate {
    /// SQL over the row `r`; false or null where it does not hold.
    pub fn sql(&self, parameters: &mut Parameters) -> String {
        match self {
            Self::And(all) => join(all, " and ", "true", parameters),
            Self::Or(some) => join(some, " or ", "false", parameters),
            // Only here does it matter that a comparison with nothing is null, and not false.
            Self::Not(inner) => format!("not coalesce({}, false)", inner.sql(parameters)),
            Self::Is(operand, test) => {
                let expression = expression(operand, parameters);
                test.sql(&expression, operand.form, parameters)
            }
        }
    }
}

fn join(parts: &[Predicate], word: &str, none: &str, parameters: &mut Parameters) -> String {
    if parts.is_empty() {
        return none.to_owned();
    }
    let parts: Vec<String> = parts.iter().map(|part| part.sql(parameters)).collect();
    format!("({})", parts.join(word))
}

impl Test {
    fn sql(&self, operand: &str, form: Form, parameters: &mut Parameters) -> String {
        let is_folded = matches!(form, Form::Text { folded: true } | Form::List { folded: true });
        let fold = |placeholder: String| if is_folded { format!("fold({placeholder})") } else { placeholder };
        let texts = |texts: &[String], parameters: &mut Parameters| {
            let placeholder = parameters.add(Value::Texts(texts.to_vec()));
            match is_folded {
                true => format!("array(select fold(v) from unnest({placeholder}::text[]) v)"),
                false => format!("{placeholder}::text[]"),
            }
        };
        match self {
            Self::Text(Operator::Contains, text) => format!("strpos({operand}, {}) > 0", fold(parameters.text(text))),
            Self::Text(operator, text) => compare(operand, *operator, &fold(parameters.text(text))),
            Self::Flag(operator, flag) => compare(operand, *operator, if *flag { "true" } else { "false" }),
            Self::Date(operator, date) => compare(operand, *operator, &parameters.add(Value::Date(*date))),
            Self::Time(operator, time) => compare(operand, *operator, &parameters.add(Value::Time(*time))),
            Self::StartsWith(text) => format!("starts_with({operand}, {})", fold(parameters.text(text))),
            Self::In(list) => format!("{operand} = any({})", texts(list, parameters)),
            Self::Any(list) => format!("{operand} && {}", texts(list, parameters)),
            Self::All(list) => format!("{operand} @> {}", texts(list, parameters)),
            Self::Absent(absent) => {
                let is_absent = match form {
                    Form::List { .. } => format!("(coalesce(cardinality({operand}), 0) = 0)"),
                    _ => format!("({operand} is null)"),
                };
                if *absent { is_absent } else { format!("(not {is_absent})") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::EntityType;

    #[test]
    fn nothing_from_outside_is_sql() {
        let operand = |path| Operand::resolve(EntityType::User, path).unwrap();
        let bad = || "'; drop table users; --".to_owned();
        let predicate = Predicate::Not(Box::new(Predicate::Or(vec![
            Predicate::Is(operand("familyName"), Test::Text(Operator::Equal, bad())),
            Predicate::Is(operand("givenName"), Test::StartsWith(bad())),
            Predicate::Is(operand("sourcedId"), Test::In(vec![bad()])),
            Predicate::Is(operand("roles.role"), Test::All(vec![bad()])),
            Predicate::Is(operand("metadata.jp.homeClass"), Test::Any(vec![bad()])),
        ])));
        assert!(!predicate.sql(&mut Parameters::of("t")).contains("drop"));
    }

    #[test]
    fn nothing_to_join_is_neutral() {
        let sql = |predicate: Predicate| predicate.sql(&mut Parameters::default());
        assert_eq!(sql(Predicate::And(vec![])), "true");
        assert_eq!(sql(Predicate::Not(Box::new(Predicate::Or(vec![])))), "not coalesce(false, false)");
    }
}
