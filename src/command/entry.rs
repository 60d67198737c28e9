//! The aggregate: one roster record, from its first appearance on.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::roster::{Fault, Field, Record};

/// What may be asked of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<R> {
    /// Stand as given: creates, changes or restores; does nothing when it stands so already.
    Record(R),
    /// Be marked `tobedeleted`. Nothing happens to a record that is so already, or was never there.
    Withdraw,
}

/// What happened to a record. Each event carries the finished record, so that projections copy and need not build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", bound = "R: Record")]
pub enum Event<R> {
    /// It appeared, or changed in the members named.
    Recorded {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
        record: R,
    },
    /// It came back after having been withdrawn.
    Restored {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
        record: R,
    },
    /// It is to be deleted; the record is the last known.
    Withdrawn { record: R },
    /// A person's data was erased from the log, at this request; the record is what is left. Stands for all records of
    /// the person.
    Erased { request: String, erased: Vec<Remainder>, record: R },
}

/// What an erasure left of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remainder {
    pub position: i64,
    /// SHA-256 of the payload that stands there now; in base64.
    pub left: String,
}

impl<R> Event<R> {
    pub const VERSION: &'static str = "1.0";

    pub fn name(&self) -> &'static str {
        match self {
            Self::Recorded { .. } => "Recorded",
            Self::Restored { .. } => "Restored",
            Self::Withdrawn { .. } => "Withdrawn",
            Self::Erased { .. } => "Erased",
        }
    }

    /// The record as it stands afterwards.
    pub fn record(&self) -> &R {
        match self {
            Self::Recorded { record, .. }
            | Self::Restored { record, .. }
            | Self::Withdrawn { record }
            | Self::Erased { record, .. } => record,
        }
    }

    pub fn into_record(self) -> R {
        match self {
            Self::Recorded { record, .. }
            | Self::Restored { record, .. }
            | Self::Withdrawn { record }
            | Self::Erased { record, .. } => record,
        }
    }

    /// The record is `tobedeleted` afterwards.
    pub fn withdraws(&self) -> bool {
        matches!(self, Self::Withdrawn { .. } | Self::Erased { .. })
    }
}

impl<R: Record> DomainEvent for Event<R> {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }
    fn event_version(&self) -> String {
        Self::VERSION.to_owned()
    }
}

/// The record breaks rules; all of them are named.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Rejected(pub Vec<Fault>);

/// The state of one record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound = "R: Record")]
pub struct Entry<R> {
    record: Option<R>,
    withdrawn: bool,
}

/// Everything that is wrong with a record by itself.
pub fn check<R: Record>(record: &R, sourced_id: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    record.check_fields(|field: &Field| field.required && field.json_required, &mut faults);
    record.rules(sourced_id, &mut faults);
    faults
}

impl<R: Record> Entry<R> {
    /// The state that a known last event left behind.
    pub fn standing(record: Option<R>, withdrawn: bool) -> Self {
        Self { record, withdrawn }
    }

    /// The event that the command leads to, if any.
    pub fn decide(&self, sourced_id: &str, command: Command<R>) -> Result<Option<Event<R>>, Rejected> {
        match command {
            Command::Record(mut record) => {
                record.fill();
                let faults = check(&record, sourced_id);
                if !faults.is_empty() {
                    return Err(Rejected(faults));
                }
                let changed: Vec<String> = match &self.record {
                    Some(before) => record.changed(before).into_iter().map(str::to_owned).collect(),
                    None => Vec::new(),
                };
                Ok(match (&self.record, self.withdrawn) {
                    (Some(_), false) if changed.is_empty() => None,
                    (Some(_), true) => Some(Event::Restored { changed, record }),
                    _ => Some(Event::Recorded { changed, record }),
                })
            }
            Command::Withdraw => Ok(match (&self.record, self.withdrawn) {
                (Some(record), false) => Some(Event::Withdrawn { record: record.clone() }),
                _ => None,
            }),
        }
    }
}

impl<R: Record> Aggregate for Entry<R> {
    const TYPE: &'static str = R::ENTITY.name;
    type Command = Command<R>;
    type Event = Event<R>;
    type Error = Rejected;
    /// The record's sourcedId, for rules that ask for it.
    type Services = String;

    async fn handle(
        &mut self,
        command: Self::Command,
        sourced_id: &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        if let Some(event) = self.decide(sourced_id, command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.withdrawn = event.withdraws();
        self.record = Some(event.into_record());
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;
    use crate::roster::value::Flag;
    use crate::roster::{Class, Code, Enrollment, Org};

    type Orgs = TestFramework<Entry<Org>>;

    fn school(name: &str) -> Org {
        serde_json::from_value(serde_json::json!({
            "name": name, "type": "school", "identifier": "B113210000012"
        }))
        .unwrap()
    }

    fn recorded(record: Org, changed: &[&str]) -> Event<Org> {
        Event::Recorded { changed: changed.iter().map(|c| (*c).to_owned()).collect(), record }
    }

    #[test]
    fn a_new_record_is_recorded() {
        Orgs::with("o".to_owned())
            .given_no_previous_events()
            .when(Command::Record(school("みどり小学校")))
            .then_expect_events(vec![recorded(school("みどり小学校"), &[])]);
    }

    #[test]
    fn the_same_again_is_no_event() {
        Orgs::with("o".to_owned())
            .given(vec![recorded(school("みどり小学校"), &[])])
            .when(Command::Record(school("みどり小学校")))
            .then_expect_events(vec![]);
    }

    #[test]
    fn a_change_names_the_changed_members() {
        Orgs::with("o".to_owned())
            .given(vec![recorded(school("みどり小学校"), &[])])
            .when(Command::Record(school("あおば小学校")))
            .then_expect_events(vec![recorded(school("あおば小学校"), &["name"])]);
    }

    #[test]
    fn withdrawing_keeps_the_record_and_happens_once() {
        let withdrawn = Event::Withdrawn { record: school("みどり小学校") };
        Orgs::with("o".to_owned())
            .given(vec![recorded(school("みどり小学校"), &[])])
            .when(Command::Withdraw)
            .then_expect_events(vec![withdrawn.clone()]);
        Orgs::with("o".to_owned())
            .given(vec![recorded(school("みどり小学校"), &[]), withdrawn])
            .when(Command::Withdraw)
            .then_expect_events(vec![]);
        Orgs::with("o".to_owned()).given_no_previous_events().when(Command::Withdraw).then_expect_events(vec![]);
    }

    #[test]
    fn a_withdrawn_record_comes_back() {
        Orgs::with("o".to_owned())
            .given(vec![recorded(school("みどり小学校"), &[]), Event::Withdrawn { record: school("みどり小学校") }])
            .when(Command::Record(school("みどり小学校")))
            .then_expect_events(vec![Event::Restored { changed: vec![], record: school("みどり小学校") }]);
    }

    #[test]
    fn every_broken_rule_is_named() {
        let mut enrollment = Enrollment { role: Some("pupil".into()), ..Enrollment::default() };
        enrollment.primary = Some(Flag(true));
        let Rejected(faults) = Entry::standing(None, false).decide("e", Command::Record(enrollment)).unwrap_err();
        let codes: Vec<_> = faults.iter().map(|f| (f.code, f.column)).collect();
        assert_eq!(
            codes,
            [
                (Code::MissingRequired, "classSourcedId"),
                (Code::MissingRequired, "schoolSourcedId"),
                (Code::MissingRequired, "userSourcedId"),
                (Code::BadEnum, "role"),
                (Code::PrimaryNotTeacher, "primary"),
            ]
        );
    }

    #[test]
    fn members_that_json_requires_are_filled() {
        let mut org = school("みどり小学校");
        org.identifier = None;
        let event = Entry::standing(None, false).decide("o", Command::Record(org)).unwrap();
        let Some(Event::Recorded { record, .. }) = event else { panic!("{event:?}") };
        assert_eq!(record.identifier.as_deref(), Some(""));
    }

    /// Events of every version ever written must stay readable, with nothing lost.
    #[test]
    fn golden_events_are_read_and_written_alike() {
        let golden = [
            r#"{"type":"Recorded","record":{"title":"1年1組","grades":["P1"],"course":{"sourcedId":"c","type":"course"},"classType":"homeroom","school":{"sourcedId":"s","type":"org"},"terms":[{"sourcedId":"t","type":"academicSession"}],"metadata":{"jp.specialNeeds":"false"}}}"#,
            r#"{"type":"Restored","changed":["title"],"record":{"title":"1年2組"}}"#,
            r#"{"type":"Withdrawn","record":{"title":"1年2組"}}"#,
        ];
        for text in golden {
            let event: Event<Class> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&event).unwrap(), text);
            // and through the framework's untyped form
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!(value.to_string(), text);
        }
    }
}
