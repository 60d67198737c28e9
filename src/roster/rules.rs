//! Rules between the fields of one record (CSV binding §8, information model).

use chrono::NaiveDate;

use super::record::Rules;
use super::value::{Flag, Ref};
use super::{AcademicSession, Class, Code, Course, Demographics, Enrollment, Fault, Org, Role, User, UserProfile};

impl Rules for AcademicSession {
    fn rules(&self, sourced_id: &str, faults: &mut Vec<Fault>) {
        dates(self.start_date, self.end_date, faults);
        own_parent(&self.parent, sourced_id, faults);
    }
}

impl Rules for Org {
    fn rules(&self, sourced_id: &str, faults: &mut Vec<Fault>) {
        own_parent(&self.parent, sourced_id, faults);
    }
}

impl Rules for Course {
    fn rules(&self, _: &str, faults: &mut Vec<Fault>) {
        subject_codes(&self.subjects, &self.subject_codes, faults);
    }
}

impl Rules for Class {
    fn rules(&self, _: &str, faults: &mut Vec<Fault>) {
        subject_codes(&self.subjects, &self.subject_codes, faults);
    }
}

impl Rules for Role {
    fn rules(&self, _: &str, faults: &mut Vec<Fault>) {
        dates(self.begin_date, self.end_date, faults);
    }
}

impl Rules for Enrollment {
    fn rules(&self, _: &str, faults: &mut Vec<Fault>) {
        dates(self.begin_date, self.end_date, faults);
        if self.primary == Some(Flag(true)) && self.role.as_deref() != Some("teacher") {
            faults.push(Fault::new(Code::PrimaryNotTeacher, "primary", "true", false));
        }
    }
}

impl Rules for User {}
impl Rules for UserProfile {}
impl Rules for Demographics {}

/// Rules between an active user and its roles (CSV binding §8): at least one, one primary at most per org, one at the
/// org named as primary. Each fault with the place of the role it is about, or none for the user itself. An import
/// asks the same of a whole set in SQL (`csv::check`).
pub fn user_and_roles(user: &User, roles: &[&Role]) -> Vec<(Option<usize>, Fault)> {
    let org = |role: &Role| role.org.as_ref().map(|o| o.sourced_id.clone()).unwrap_or_default();
    let mut faults = Vec::new();
    if roles.is_empty() {
        faults.push((None, Fault::new(Code::UserWithoutRole, "sourcedId", "", false)));
    }
    let mut primary = std::collections::HashSet::new();
    for (i, role) in roles.iter().enumerate().filter(|(_, r)| r.role_type.as_deref() == Some("primary")) {
        if !primary.insert(org(role)) {
            faults.push((Some(i), Fault::new(Code::SecondPrimaryRole, "roleType", &org(role), false)));
        }
    }
    if let Some(main) = user.primary_org.as_ref().map(|o| &o.sourced_id)
        && !roles.iter().any(|r| org(r) == *main)
    {
        faults.push((None, Fault::new(Code::PrimaryOrgWithoutRole, "primaryOrgSourcedId", main, false)));
    }
    faults
}

/// The end is excluded by the base text and included in Japan, so equal dates pass.
fn dates(begin: Option<NaiveDate>, end: Option<NaiveDate>, faults: &mut Vec<Fault>) {
    if let (Some(begin), Some(end)) = (begin, end)
        && end < begin
    {
        faults.push(Fault::new(Code::DatesReversed, "endDate", &end.to_string(), false));
    }
}

/// Subjects without codes are common (every Japanese set has them); two lists must have one length.
fn subject_codes(subjects: &[String], codes: &[String], faults: &mut Vec<Fault>) {
    if !codes.is_empty() && subjects.len() != codes.len() {
        faults.push(Fault::new(Code::SubjectCodes, "subjectCodes", &codes.join(","), false));
    }
}

fn own_parent(parent: &Ref, sourced_id: &str, faults: &mut Vec<Fault>) {
    if parent.as_ref().is_some_and(|p| p.sourced_id == sourced_id) {
        faults.push(Fault::new(Code::OwnParent, "parentSourcedId", sourced_id, false));
    }
}
