//! What the Japan profiles add: extension columns and rules. See docs/decisions for sources and open points.

use super::field::{Field, flag, guid, integer, text};
use super::record::Metadata;
use super::strict::StrictRules;
use super::value::FieldValue;
use super::{Class, Code, Course, Demographics, Enrollment, EntityType, Fault, Org, Record, Role, User, UserProfile};

/// An extension column of a Japan edition.
pub struct Extension {
    pub entity: EntityType,
    /// `csv` is the column of the 1EdTech Japan K-12 profile, `json` the key inside `metadata`.
    pub field: Field,
    /// The column in the older national editions, where it differs.
    pub older_column: Option<&'static str>,
    /// The second national edition (2022) does not have it yet.
    pub later: bool,
}

const fn extension(entity: EntityType, field: Field, key: &'static str, doc: &'static str) -> Extension {
    Extension { entity, field: field.named(key, doc), older_column: None, later: false }
}

const fn formerly(mut extension: Extension, column: &'static str) -> Extension {
    extension.older_column = Some(column);
    extension
}

const fn later(mut extension: Extension) -> Extension {
    extension.later = true;
    extension
}

/// A reading of one of the user's names.
const fn kana(column: &'static str, key: &'static str, doc: &'static str) -> Extension {
    extension(EntityType::User, text(column).personal(), key, doc)
}

/// In the order in which the columns stand at the right end of each file.
pub static EXTENSIONS: [Extension; 10] = [
    extension(
        EntityType::Class,
        flag("metadata.jp.specialNeeds"),
        "jp.specialNeeds",
        "\"true\" for a class of special needs education (特別支援学級).",
    ),
    kana("metadata.jp.kanaGivenName", "jp.kanaGivenName", "Reading of the given name, in full-width katakana."),
    kana("metadata.jp.kanaFamilyName", "jp.kanaFamilyName", "Reading of the family name, in full-width katakana."),
    kana("metadata.jp.kanaMiddleName", "jp.kanaMiddleName", "Reading of the middle name, in full-width katakana."),
    extension(
        EntityType::User,
        guid("metadata.jp.homeClass", EntityType::Class),
        "jp.homeClass",
        "sourcedId of the user's homeroom class.",
    ),
    later(kana(
        "metadata.jp.kanaPreferredFamilyName",
        "jp.kanaPreferredFamilyName",
        "Reading of the family name the person goes by, in full-width katakana.",
    )),
    later(kana(
        "metadata.jp.kanaPreferredGivenName",
        "jp.kanaPreferredGivenName",
        "Reading of the given name the person goes by, in full-width katakana.",
    )),
    later(kana(
        "metadata.jp.kanaPreferredMiddleName",
        "jp.kanaPreferredMiddleName",
        "Reading of the middle name the person goes by, in full-width katakana.",
    )),
    formerly(
        extension(
            EntityType::Enrollment,
            integer("metadata.jp.shussekiNo"),
            "jp.shussekiNo",
            "Attendance number in the class (出席番号).",
        ),
        "metadata.jp.ShussekiNo",
    ),
    formerly(
        extension(EntityType::Enrollment, flag("metadata.jp.publicFlg"), "jp.publicFlg", "Disclosure flag."),
        "metadata.jp.PublicFlg",
    ),
];

/// The extension that a CSV column means, in whichever edition's spelling.
pub fn extension_of_column(entity: EntityType, column: &str) -> Option<&'static Extension> {
    EXTENSIONS.iter().find(|e| e.entity == entity && (e.field.csv == column || e.older_column == Some(column)))
}

/// Checks the text of a known extension and gives what stands in `metadata`: always a string.
pub fn parse_extension(field: &Field, raw: &str) -> Result<serde_json::Value, Code> {
    match field.kind {
        super::Kind::Flag => <Option<super::value::Flag>>::parse(field, raw).map(drop)?,
        _ => Some(raw.to_owned()).check(field).map_err(|(code, _)| code)?,
    }
    Ok(raw.into())
}

/// References that stand in metadata (a user's homeroom class).
pub(super) fn each_reference(entity: EntityType, metadata: &Metadata, f: &mut dyn FnMut(&'static Field, &str)) {
    if metadata.is_empty() {
        return;
    }
    for extension in EXTENSIONS.iter().filter(|e| e.entity == entity && e.field.reference.is_some()) {
        if let Some(id) = metadata.get(extension.field.json).and_then(|v| v.as_str()) {
            f(&extension.field, id);
        }
    }
}

const GRADES: [&str; 15] = ["E1", "E2", "E3", "P1", "P2", "P3", "P4", "P5", "P6", "J1", "J2", "J3", "H1", "H2", "H3"];

/// The profile's rules that all its editions agree on. Stricter ones (UUIDs, required readings) differ by
/// importer and are not refused here.
pub trait JapanRules: Record + StrictRules {
    fn japan_rules(&self, _faults: &mut Vec<Fault>) {}
}

impl JapanRules for Class {
    fn japan_rules(&self, faults: &mut Vec<Fault>) {
        grades(&self.grades, faults);
        full_width("title", self.title.as_deref(), false, faults);
        full_width("location", self.location.as_deref(), false, faults);
    }
}

impl JapanRules for Course {
    fn japan_rules(&self, faults: &mut Vec<Fault>) {
        grades(&self.grades, faults);
        if let Some(code) = self.course_code.as_deref().filter(|c| !c.is_empty()) {
            faults.push(Fault::new(Code::CourseCodeNotBlank, "courseCode", code, false));
        }
    }
}

impl JapanRules for User {
    fn japan_rules(&self, faults: &mut Vec<Fault>) {
        grades(&self.grades, faults);
        full_width("givenName", self.given_name.as_deref(), true, faults);
        full_width("familyName", self.family_name.as_deref(), true, faults);
        for extension in EXTENSIONS.iter().filter(|e| e.field.json.starts_with("jp.kana")) {
            let reading = self.metadata.get(extension.field.json).and_then(|v| v.as_str());
            full_width(extension.field.csv, reading, true, faults);
            if let Some(reading) = reading
                && !has_half_width_katakana(reading)
                && !reading.chars().all(is_katakana)
            {
                faults.push(Fault::new(Code::NotKatakana, extension.field.csv, reading, true));
            }
        }
    }
}

impl JapanRules for Org {
    fn japan_rules(&self, faults: &mut Vec<Fault>) {
        full_width("name", self.name.as_deref(), false, faults);
    }
}

impl JapanRules for UserProfile {
    fn japan_rules(&self, faults: &mut Vec<Fault>) {
        full_width("description", self.description.as_deref(), false, faults);
    }
}

impl JapanRules for super::AcademicSession {}
impl JapanRules for Role {}
impl JapanRules for Enrollment {}
impl JapanRules for Demographics {}

fn grades(grades: &[String], faults: &mut Vec<Fault>) {
    for grade in grades.iter().filter(|g| !GRADES.contains(&g.as_str())) {
        faults.push(Fault::new(Code::BadGrade, "grades", grade, false));
    }
}

fn full_width(column: &'static str, value: Option<&str>, personal: bool, faults: &mut Vec<Fault>) {
    if let Some(value) = value.filter(|v| has_half_width_katakana(v)) {
        faults.push(Fault::new(Code::HalfWidthKatakana, column, value, personal));
    }
}

fn has_half_width_katakana(text: &str) -> bool {
    text.chars().any(|c| ('\u{ff61}'..='\u{ff9f}').contains(&c))
}

/// Full-width katakana with the long-vowel mark, the middle dot and blanks between names.
fn is_katakana(c: char) -> bool {
    matches!(c, '\u{30a1}'..='\u{30fe}' | '\u{31f0}'..='\u{31ff}' | ' ' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_full_width_katakana() {
        let faults = |reading: &str| {
            let mut user = User::default();
            user.metadata.insert("jp.kanaGivenName".into(), reading.into());
            let mut faults = Vec::new();
            user.japan_rules(&mut faults);
            faults.into_iter().map(|f| f.code).collect::<Vec<_>>()
        };
        assert_eq!(faults("ハナコ"), []);
        assert_eq!(faults("サントス・マリー アン"), []);
        assert_eq!(faults("ﾊﾅｺ"), [Code::HalfWidthKatakana]);
        assert_eq!(faults("はなこ"), [Code::NotKatakana]);
        assert_eq!(faults("HANAKO"), [Code::NotKatakana]);
    }

    #[test]
    fn older_spellings_mean_the_same_extension() {
        let of = |column| extension_of_column(EntityType::Enrollment, column).map(|e| e.field.json);
        assert_eq!(of("metadata.jp.ShussekiNo"), Some("jp.shussekiNo"));
        assert_eq!(of("metadata.jp.shussekiNo"), Some("jp.shussekiNo"));
        assert_eq!(of("metadata.jp.SHUSSEKINO"), None);
    }
}
