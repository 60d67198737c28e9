//! Which changes an endpoint wants: a condition in the grammar of OneRoster's filters, over facts of a change.
//!
//! ```text
//! recordType='enrollment' AND (school='aoba' OR role='teacher') AND changed='status'
//! ```

use std::str::FromStr;

use serde::Deserialize;

use crate::feed::{Change, Kind};
use crate::query::filter::{BadFilter, Clause, Filter, Operator};
use crate::roster::EntityType;

/// A fact of a change that a filter may ask for.
pub struct Fact {
    pub name: &'static str,
    pub doc: &'static str,
    /// The values that it can have, where they are known.
    values: Option<fn() -> Vec<&'static str>>,
}

const fn fact(name: &'static str, doc: &'static str) -> Fact {
    Fact { name, doc, values: None }
}

fn record_types() -> Vec<&'static str> {
    EntityType::ALL.map(EntityType::name).to_vec()
}

fn kinds() -> Vec<&'static str> {
    Kind::ALL.map(|(kind, ..)| kind.word()).to_vec()
}

/// All there are. One with several values, as `changed`, equals each of them.
pub static FACTS: [Fact; 9] = [
    Fact { values: Some(record_types), ..fact("recordType", "What was changed: user, class, enrollment, …") },
    Fact { values: Some(kinds), ..fact("kind", "created, changed, deleted, restored or erased") },
    fact("sourcedId", "The record's."),
    fact("user", "sourcedId of the person whose record, role, profile, enrollment or demographics it is."),
    fact(
        "school",
        "The schools or other orgs that it belongs to, just before or just after. Academic sessions belong to none.",
    ),
    fact("role", "Of a role or an enrollment: its own. Of a person: the active ones, just after."),
    fact("changed", "The members that changed."),
    fact("client", "The client that wrote it, as the log has it."),
    fact("import", "The import that it came with."),
];

/// A checked condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFilter(Filter);

impl FromStr for RecordFilter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let filter: Filter = text.parse()?;
        check(&filter)?;
        Ok(Self(filter))
    }
}

fn check(filter: &Filter) -> Result<(), BadFilter> {
    let clause = match filter {
        Filter::And(left, right) | Filter::Or(left, right) => {
            check(left)?;
            return check(right);
        }
        Filter::Clause(clause) => clause,
    };
    let Some(fact) = FACTS.iter().find(|fact| fact.name == clause.field) else {
        let names: Vec<&str> = FACTS.iter().map(|fact| fact.name).collect();
        return Err(BadFilter(format!("a change has no fact {:?}; there are {}", clause.field, names.join(", "))));
    };
    let exact = matches!(clause.operator, Operator::Equal | Operator::NotEqual);
    if !exact && clause.operator != Operator::Contains {
        return Err(BadFilter(format!("{} is compared by =, != or ~", fact.name)));
    }
    match fact.values.map(|values| values()) {
        Some(values) if exact && !values.contains(&clause.value.as_str()) => {
            Err(BadFilter(format!("{} is never {:?}; it is {}", fact.name, clause.value, values.join(", "))))
        }
        _ => Ok(()),
    }
}

impl RecordFilter {
    /// Whether it asks for the orgs that a change belongs to.
    pub fn asks_for_schools(&self) -> bool {
        asks_for(&self.0, "school")
    }

    /// Whether it asks for the roles of people.
    pub fn asks_for_roles(&self) -> bool {
        asks_for(&self.0, "role")
    }

    /// `roles`: of the person that the change is of, where the filter asks for them.
    pub fn passes(&self, change: &Change, roles: &[String]) -> bool {
        passes(&self.0, change, roles)
    }
}

fn asks_for(filter: &Filter, fact: &str) -> bool {
    match filter {
        Filter::Clause(clause) => clause.field == fact,
        Filter::And(left, right) | Filter::Or(left, right) => asks_for(left, fact) || asks_for(right, fact),
    }
}

fn passes(filter: &Filter, change: &Change, roles: &[String]) -> bool {
    match filter {
        Filter::And(left, right) => passes(left, change, roles) && passes(right, change, roles),
        Filter::Or(left, right) => passes(left, change, roles) || passes(right, change, roles),
        Filter::Clause(clause) => holds(clause, &values(&clause.field, change, roles)),
    }
}

/// `!=` holds when no value is equal: the opposite of `=`.
fn holds(clause: &Clause, values: &[&str]) -> bool {
    let wanted = clause.value.as_str();
    match clause.operator {
        Operator::NotEqual => values.iter().all(|value| *value != wanted),
        Operator::Contains => values.iter().any(|value| value.to_lowercase().contains(&wanted.to_lowercase())),
        _ => values.contains(&wanted),
    }
}

fn values<'a>(fact: &str, change: &'a Change, roles: &'a [String]) -> Vec<&'a str> {
    let texts = |texts: &'a [String]| texts.iter().map(String::as_str).collect();
    match fact {
        "recordType" => vec![change.entity.name()],
        "kind" => vec![change.kind.word()],
        "sourcedId" => vec![&change.sourced_id],
        "user" => person(change).into_iter().collect(),
        "school" => texts(&change.schools),
        "changed" => texts(&change.changed),
        "client" => change.cause.client.as_deref().into_iter().collect(),
        "import" => change.cause.import.as_deref().into_iter().collect(),
        _ => match own_role(change) {
            Some(role) => vec![role],
            None => texts(roles),
        },
    }
}

/// The person that a change is of.
pub fn person(change: &Change) -> Option<&str> {
    change.person()
}

/// The role that a record itself names.
pub fn own_role(change: &Change) -> Option<&str> {
    #[derive(Deserialize)]
    struct Named<'a> {
        role: Option<&'a str>,
    }
    let of_itself = matches!(change.entity, EntityType::Role | EntityType::Enrollment);
    let named = of_itself.then(|| serde_json::from_str::<Named>(change.after.get()).ok()).flatten();
    named.and_then(|named| named.role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Cause;

    fn change() -> Change {
        Change {
            position: 3,
            unit: 3,
            record_previous: None,
            recorded_at: chrono::DateTime::UNIX_EPOCH,
            entity: EntityType::Enrollment,
            sourced_id: "e1".into(),
            user: Some("u1".into()),
            kind: Kind::Changed,
            changed: vec!["role".into(), "endDate".into()],
            before: None,
            after: serde_json::value::RawValue::from_string(r#"{"role":"teacher"}"#.into()).unwrap(),
            cause: Cause { import: Some("i".into()), ..Cause::default() },
            schools: vec!["aoba".into()],
            was_active: None,
            emptied: false,
        }
    }

    #[test]
    fn facts_are_compared() {
        let passes = |text: &str| text.parse::<RecordFilter>().unwrap().passes(&change(), &[]);
        for yes in [
            "recordType='enrollment'",
            "kind!='deleted' AND user='u1'",
            "school='aoba' AND role='teacher'",
            "changed='endDate' AND (school='midori' OR sourcedId~'E')",
            "client!='x'",
            "import='i'",
        ] {
            assert!(passes(yes), "{yes}");
        }
        for no in ["school='midori'", "changed!='role'", "role='student'", "client~''", "kind='created' OR user='e1'"] {
            assert!(!passes(no), "{no}");
        }
    }

    #[test]
    fn roles_of_people_are_asked_for() {
        let filter: RecordFilter = "role='student'".parse().unwrap();
        assert!(filter.asks_for_roles() && !filter.asks_for_schools());
        let user = Change { entity: EntityType::User, ..change() };
        assert!(filter.passes(&user, &["student".into()]) && !filter.passes(&user, &[]));
    }

    #[test]
    fn what_is_wrong_is_told_when_it_is_saved() {
        for (text, says) in [
            ("recordtype='user'", "no fact"),
            ("recordType='users'", "never"),
            ("kind='CREATED'", "never"),
            ("school>'a'", "by =, != or ~"),
            ("school=", "malformed"),
        ] {
            let error = text.parse::<RecordFilter>().unwrap_err();
            assert!(error.0.contains(says), "{text}: {error}");
        }
    }
}
