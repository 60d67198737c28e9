//! SQL with its parameters. Text from outside becomes a parameter, never SQL.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::query::{Query, QueryAs};
use sqlx::{Postgres, Type};

use super::filter::{BadFilter, Clause, Filter, Operator};
use super::path::{Form, Operand, Source};
use crate::roster::EntityType;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Texts(Vec<String>),
    Number(i64),
    Date(NaiveDate),
    Time(DateTime<Utc>),
}

/// The parameters of a statement that is being built. `$1` is the tenant.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<Value>);

impl Parameters {
    pub fn of(tenant: &str) -> Self {
        Self(vec![Value::Text(tenant.to_owned())])
    }

    /// The placeholder of a new parameter.
    pub fn add(&mut self, value: Value) -> String {
        self.0.push(value);
        format!("${}", self.0.len())
    }

    pub fn text(&mut self, text: &str) -> String {
        self.add(Value::Text(text.to_owned()))
    }

    /// `$1`, `$2`, …
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    pub fn bind<'q, O>(self, query: QueryAs<'q, Postgres, O, PgArguments>) -> QueryAs<'q, Postgres, O, PgArguments> {
        self.0.into_iter().fold(query, QueryAs::bind)
    }

    /// The statement, for those that read its rows as they are.
    pub fn query(self, sql: &str) -> Query<'_, Postgres, PgArguments> {
        self.0.into_iter().fold(sqlx::query(sql), Query::bind)
    }
}

impl Type<Postgres> for Value {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Value {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Self::Text(text) => text.encode_by_ref(buffer),
            Self::Texts(texts) => texts.encode_by_ref(buffer),
            Self::Number(number) => number.encode_by_ref(buffer),
            Self::Date(date) => date.encode_by_ref(buffer),
            Self::Time(time) => time.encode_by_ref(buffer),
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(match self {
            Self::Text(_) => <String as Type<Postgres>>::type_info(),
            Self::Texts(_) => <Vec<String> as Type<Postgres>>::type_info(),
            Self::Number(_) => <i64 as Type<Postgres>>::type_info(),
            Self::Date(_) => <NaiveDate as Type<Postgres>>::type_info(),
            Self::Time(_) => <DateTime<Utc> as Type<Postgres>>::type_info(),
        })
    }
}

/// A condition on the row `r` of the entity's read model. Fails on fields that are not there and values that cannot
/// be compared with the field.
pub fn condition(filter: &Filter, kind: EntityType, parameters: &mut Parameters) -> Result<String, BadFilter> {
    let (left, right, word) = match filter {
        Filter::Clause(clause) => return comparison(clause, kind, parameters),
        Filter::And(left, right) => (left, right, "and"),
        Filter::Or(left, right) => (left, right, "or"),
    };
    let left = condition(left, kind, parameters)?;
    Ok(format!("({left} {word} {})", condition(right, kind, parameters)?))
}

fn comparison(clause: &Clause, kind: EntityType, parameters: &mut Parameters) -> Result<String, BadFilter> {
    let Clause { field, operator, value } = clause;
    let operand = Operand::resolve(kind, field)
        .ok_or_else(|| BadFilter(format!("{} has no field {field} to filter by", kind.name())))?;
    let expression = expression(&operand, parameters);
    let unfit = |what: &str| BadFilter(format!("{field} is compared with {what}"));
    let contains = |text: &str, parameters: &mut Parameters| format!("strpos({text}, {}) > 0", parameters.text(value));
    Ok(match operand.form {
        Form::Text { folded } => {
            let placeholder = parameters.text(value);
            let placeholder = if folded { format!("fold({placeholder})") } else { placeholder };
            match operator {
                Operator::Contains => format!("strpos({expression}, {placeholder}) > 0"),
                _ => compare(&expression, *operator, &placeholder),
            }
        }
        Form::Flag => {
            let text = format!("(case when {expression} then 'true' when not {expression} then 'false' end)");
            match operator {
                Operator::Contains => contains(&text, parameters),
                _ => compare(&text, *operator, &parameters.text(value)),
            }
        }
        Form::Date if *operator == Operator::Contains => {
            contains(&format!("to_char({expression}, 'YYYY-MM-DD')"), parameters)
        }
        Form::Date => {
            let date = time(value).ok_or_else(|| unfit("a date, YYYY-MM-DD"))?.date_naive();
            compare(&expression, *operator, &parameters.add(Value::Date(date)))
        }
        Form::Time if *operator == Operator::Contains => {
            contains(&format!("to_char({expression}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"), parameters)
        }
        Form::Time => {
            let time = time(value).ok_or_else(|| unfit("a time, YYYY-MM-DDThh:mm:ssZ, or a date"))?;
            compare(&expression, *operator, &parameters.add(Value::Time(time)))
        }
        Form::List { folded } => list(&expression, folded, *operator, value, parameters),
    })
}

/// An absent value compares as false, but for `!=`.
pub(super) fn compare(expression: &str, operator: Operator, placeholder: &str) -> String {
    match operator {
        Operator::NotEqual => format!("{expression} is distinct from {placeholder}"),
        _ => format!("{expression} {} {placeholder}", operator.as_str()),
    }
}

/// Several values against a comma separated list: `=` all listed are there, `!=` none is, `~` one contains one of
/// them, other comparisons hold for one.
fn list(expression: &str, folded: bool, operator: Operator, value: &str, parameters: &mut Parameters) -> String {
    let listed: Vec<String> = value.split(',').map(|item| item.trim().to_owned()).collect();
    let placeholder = parameters.add(Value::Texts(listed));
    let listed = match folded {
        true => format!("array(select fold(v) from unnest({placeholder}::text[]) v)"),
        false => format!("{placeholder}::text[]"),
    };
    match operator {
        Operator::Equal => format!("coalesce({expression} @> {listed}, false)"),
        Operator::NotEqual => format!("not coalesce({expression} && {listed}, false)"),
        Operator::Contains => {
            format!("exists (select from unnest({expression}) e, unnest({listed}) v where strpos(e, v) > 0)")
        }
        _ => {
            let sign = operator.as_str();
            format!("exists (select from unnest({expression}) e, unnest({listed}) v where e collate \"C\" {sign} v)")
        }
    }
}

/// The operand as SQL over the row `r`.
pub(super) fn expression(operand: &Operand, parameters: &mut Parameters) -> String {
    match (&operand.source, operand.form) {
        (Source::Column(column), _) => format!("r.\"{column}\""),
        (Source::Document(path), form) => {
            let path = parameters.text(path);
            let value = match form {
                Form::List { folded: true } => "fold(v #>> '{}')",
                _ => "v #>> '{}'",
            };
            format!("array(select {value} from jsonb_path_query(r.doc::jsonb, {path}::jsonpath) v)")
        }
    }
}

/// What records are sorted by: an expression that is never null, and the type it is compared as.
pub fn sort_key(operand: &Operand, parameters: &mut Parameters) -> (String, &'static str) {
    let expression = expression(operand, parameters);
    let or = |least: &str| match operand.required {
        true => expression.clone(),
        false => format!("coalesce({expression}, {least})"),
    };
    match operand.form {
        Form::Text { .. } => (or("''"), "text"),
        Form::Flag => (format!("coalesce({expression}::text, '')"), "text"),
        Form::Date => (or("'-infinity'::date"), "date"),
        Form::Time => (or("'-infinity'::timestamptz"), "timestamptz"),
        Form::List { .. } => (format!("coalesce(array_to_string({expression}, ','), '') collate \"C\""), "text"),
    }
}

/// A moment as clients write it: with or without time, fraction, offset.
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    // A plus sign that was not encoded arrives as a space.
    let text = text.trim().replacen(' ', if text.matches(':').count() > 2 { "+" } else { "T" }, 1);
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return in_range(time.to_utc());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(&text, form) {
            return in_range(time.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok().filter(|_| text.len() == 10)?;
    in_range(date.and_time(chrono::NaiveTime::MIN).and_utc())
}

/// What Postgres can hold, with room for offsets.
fn in_range(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    use chrono::Datelike;
    (1..=9999).contains(&time.year()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_clients_write_them() {
        let at = |text: &str| time(text).map(|t| t.to_rfc3339());
        assert_eq!(at("2015-01-01").as_deref(), Some("2015-01-01T00:00:00+00:00"));
        for text in [
            "2026-04-07T00:00:00Z",
            "2026-04-07T09:00:00+09:00",
            "2026-04-07T09:00:00 09:00",
            "2026-04-07T00:00:00.000Z",
            "2026-04-07T00:00:00",
            "2026-04-07T00:00",
            "2026-04-07 00:00:00",
        ] {
            assert_eq!(at(text).as_deref(), Some("2026-04-07T00:00:00+00:00"), "{text}");
        }
        for bad in
            ["", "yesterday", "2026-13-01", "2026-4-7", "20260407", "2026-04-07T", "99999-01-01", "+262142-12-31"]
        {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_from_outside_is_sql() {
        let filter: Filter =
            "familyName='''; drop table users; --' OR roles.roleType~'x' AND metadata.a-b.c='\"'".parse().unwrap();
        let mut parameters = Parameters::of("t");
        let sql = condition(&filter, EntityType::User, &mut parameters).unwrap();
        assert!(!sql.contains("drop") && !sql.contains("a-b"), "{sql}");
        assert_eq!(parameters.0[1], Value::Text("'; drop table users; --".into()));
    }
}
