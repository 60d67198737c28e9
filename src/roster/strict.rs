//! What the Japanese editions and their certified importers demand of one record beyond the rules that all agree on.

use chrono::{Datelike, NaiveDate};

use super::value::Flag;
use super::{
    AcademicSession, Class, Code, Course, Demographics, Enrollment, Fault, Org, Record, Role, User, UserProfile,
};

/// Rules of one record that only a strict import holds.
pub trait StrictRules: Record {
    fn strict_rules(&self, _faults: &mut Vec<Fault>) {}
}

impl StrictRules for AcademicSession {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        listed("type", self.session_type.as_deref(), &["schoolYear"], faults);
        let title = self.title.as_deref().unwrap_or_default();
        if year_title(title) != Some("") {
            faults.push(Fault::new(Code::TitleForm, "title", title, false));
        }
        let (Some(start), Some(end)) = (self.start_date, self.end_date) else { return };
        let mut wrong = |column, value: &str| faults.push(Fault::new(Code::SchoolYearDates, column, value, false));
        if (start.month(), start.day()) != (4, 1) {
            wrong("startDate", &start.to_string());
        }
        if NaiveDate::from_ymd_opt(start.year() + 1, 3, 31) != Some(end) {
            wrong("endDate", &end.to_string());
        }
        if let Some(year) = self.school_year.as_deref().filter(|year| *year != start.year().to_string()) {
            wrong("schoolYear", year);
        }
    }
}

impl StrictRules for Org {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        let kind = self.org_type.as_deref();
        listed("type", kind, &["district", "school"], faults);
        let code = self.identifier.as_deref().unwrap_or_default();
        let fits = match kind {
            Some("school") => is_school_code(code),
            Some("district") => is_board_code(code),
            _ => true,
        };
        if !fits {
            faults.push(Fault::new(Code::BadSchoolCode, "identifier", code, false));
        }
        let parent = self.parent.as_ref().map(|parent| parent.sourced_id.as_str());
        if matches!((kind, parent), (Some("school"), None) | (Some("district"), Some(_))) {
            faults.push(Fault::new(Code::ParentByType, "parentSourcedId", parent.unwrap_or_default(), false));
        }
    }
}

impl StrictRules for Course {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        let title = self.title.as_deref().unwrap_or_default();
        if year_title(title).is_none_or(str::is_empty) {
            faults.push(Fault::new(Code::TitleForm, "title", title, false));
        }
    }
}

impl StrictRules for Class {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        listed("classType", self.class_type.as_deref(), &["homeroom", "scheduled"], faults);
    }
}

impl StrictRules for Role {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        const ROLES: [&str; 8] = [
            "student",
            "teacher",
            "guardian",
            "principal",
            "districtAdministrator",
            "siteAdministrator",
            "systemAdministrator",
            "proctor",
        ];
        listed("role", self.role.as_deref(), &ROLES, faults);
        let administers =
            matches!(self.role.as_deref(), Some("principal" | "districtAdministrator" | "siteAdministrator"));
        if administers && self.role_type.as_deref() == Some("primary") {
            faults.push(Fault::new(Code::NotInProfile, "roleType", "primary", false));
        }
    }
}

impl StrictRules for User {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        if self.enabled_user == Some(Flag(false)) {
            faults.push(Fault::new(Code::NotInProfile, "enabledUser", "false", false));
        }
        match self.user_master_identifier.as_deref() {
            Some(id) if !is_uuid(id) => {
                faults.push(Fault::new(Code::NotUuid, "userMasterIdentifier", id, true));
            }
            id => required("userMasterIdentifier", id, faults),
        }
        required("preferredGivenName", self.preferred_first_name.as_deref(), faults);
        required("preferredFamilyName", self.preferred_last_name.as_deref(), faults);
        let extension = |key: &str| self.metadata.get(key).and_then(|value| value.as_str());
        required("metadata.jp.kanaGivenName", extension("jp.kanaGivenName"), faults);
        required("metadata.jp.kanaFamilyName", extension("jp.kanaFamilyName"), faults);
        // Only pupils have grades.
        if !self.grades.is_empty() {
            required("metadata.jp.homeClass", extension("jp.homeClass"), faults);
        }
    }
}

impl StrictRules for Enrollment {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        const ROLES: [&str; 4] = ["administrator", "proctor", "student", "teacher"];
        listed("role", self.role.as_deref(), &ROLES, faults);
        let primary = self.primary.map(|_| "");
        if primary.is_none() {
            faults.push(Fault::new(Code::RequiredByProfile, "primary", "", false));
        }
    }
}

impl StrictRules for Demographics {
    fn strict_rules(&self, faults: &mut Vec<Fault>) {
        if self.sex.as_deref().is_some_and(|sex| sex.starts_with("ext:")) {
            faults.push(Fault::new(Code::NotInProfile, "sex", "***", true));
        }
    }
}

impl StrictRules for UserProfile {}

fn listed(column: &'static str, value: Option<&str>, values: &[&str], faults: &mut Vec<Fault>) {
    if let Some(value) = value.filter(|value| !values.contains(value)) {
        faults.push(Fault::new(Code::NotInProfile, column, value, false));
    }
}

fn required(column: &'static str, value: Option<&str>, faults: &mut Vec<Fault>) {
    if value.is_none_or(str::is_empty) {
        faults.push(Fault::new(Code::RequiredByProfile, column, "", false));
    }
}

/// What follows on `YYYY年度`.
fn year_title(title: &str) -> Option<&str> {
    let (year, rest) = title.split_once("年度")?;
    (year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

/// A UUID of version 4, in lower case, as ids in Japan are.
pub fn is_uuid(id: &str) -> bool {
    let bytes = id.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            14 => *b == b'4',
            19 => b"89ab".contains(b),
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// 13 characters: kind of school, prefecture, founder, serial, check digit (whose formula is not public).
fn is_school_code(code: &str) -> bool {
    let bytes = code.as_bytes();
    bytes.len() == 13
        && matches!((bytes[0], bytes[1]), (b'B' | b'E' | b'G', b'1') | (b'A' | b'C' | b'D' | b'F' | b'H', b'1' | b'2'))
        && is_prefecture(&bytes[2..4])
        && (b'1'..=b'3').contains(&bytes[4])
        && bytes[5] != b'0'
        && bytes[5..].iter().all(u8::is_ascii_digit)
}

/// 6 digits that begin with the prefecture.
fn is_board_code(code: &str) -> bool {
    let bytes = code.as_bytes();
    bytes.len() == 6 && is_prefecture(&bytes[..2]) && bytes[2..].iter().all(u8::is_ascii_digit)
}

fn is_prefecture(digits: &[u8]) -> bool {
    std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u8>().is_ok_and(|n| (1..=47).contains(&n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_form() {
        assert!(is_school_code("B127210000018") && is_school_code("C113310123456"));
        for bad in ["B227210000018", "B148210000018", "B12721000001", "B127410000018", "B127200000018"] {
            assert!(!is_school_code(bad), "{bad}");
        }
        assert!(is_board_code("131237") && !is_board_code("481237") && !is_board_code("13123"));
    }

    #[test]
    fn titles_begin_with_the_school_year() {
        assert_eq!(year_title("2026年度"), Some(""));
        assert_eq!(year_title("2026年度国語"), Some("国語"));
        assert_eq!(year_title("令和8年度"), None);
    }

    #[test]
    fn ids_are_uuids_of_version_4() {
        assert!(is_uuid("3f2b8c1e-5d6a-4b7c-8d9e-0a1b2c3d4e5f"));
        assert!(!is_uuid("3F2B8C1E-5D6A-4B7C-8D9E-0A1B2C3D4E5F"));
        assert!(!is_uuid("3f2b8c1e-5d6a-1b7c-8d9e-0a1b2c3d4e5f"));
    }
}
