//! Any text as a filter: it is refused, or it reads back as it is printed, and nothing of it becomes SQL.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rosterhub::query::filter::{Clause, Filter};
use rosterhub::query::path::{Operand, paths};
use rosterhub::query::sql::{Parameters, Value, condition};
use rosterhub::roster::EntityType;

fuzz_target!(|text: &str| {
    let Ok(filter) = text.parse::<Filter>() else { return };
    assert_eq!(filter.to_string().parse(), Ok(filter.clone()));
    for kind in EntityType::ALL {
        let (mut parameters, mut plain) = (Parameters::of("t"), Parameters::of("t"));
        if let Ok(sql) = condition(&filter, kind, &mut parameters) {
            // A filter of the same form, with nothing in it that the text has made up.
            assert_eq!(condition(&neutral(&filter, kind), kind, &mut plain).as_ref(), Ok(&sql));
            for clause in clauses(&filter) {
                assert!(parameters.values().iter().any(|value| is_of(value, clause)), "{clause:?}");
            }
        }
    }
});

fn neutral(filter: &Filter, kind: EntityType) -> Filter {
    let both = |left: &Filter, right: &Filter| (Box::new(neutral(left, kind)), Box::new(neutral(right, kind)));
    match filter {
        Filter::And(left, right) => {
            let (left, right) = both(left, right);
            Filter::And(left, right)
        }
        Filter::Or(left, right) => {
            let (left, right) = both(left, right);
            Filter::Or(left, right)
        }
        Filter::Clause(Clause { field, operator, .. }) => {
            let known = paths(kind).contains(field);
            assert!(known || field.starts_with("metadata."), "{field}");
            assert!(Operand::resolve(kind, field).is_some());
            let field = if known { field.as_str() } else { "metadata.x" };
            Filter::Clause(Clause { field: field.to_owned(), operator: *operator, value: "2026-04-01".to_owned() })
        }
    }
}

fn clauses(filter: &Filter) -> Vec<&Clause> {
    match filter {
        Filter::Clause(clause) => vec![clause],
        Filter::And(left, right) | Filter::Or(left, right) => [clauses(left), clauses(right)].concat(),
    }
}

/// The clause's value, as a parameter.
fn is_of(value: &Value, clause: &Clause) -> bool {
    match value {
        Value::Text(text) => *text == clause.value,
        Value::Texts(texts) => texts.iter().map(String::as_str).eq(clause.value.split(',').map(str::trim)),
        Value::Date(date) => rosterhub::query::sql::time(&clause.value).is_some_and(|t| t.date_naive() == *date),
        Value::Time(time) => rosterhub::query::sql::time(&clause.value) == Some(*time),
        Value::Number(_) => false,
    }
}
