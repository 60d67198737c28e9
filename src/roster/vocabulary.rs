//! Closed and extensible token lists (CSV binding §7, information model).

/// The tokens a field may hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Vocabulary {
    pub name: &'static str,
    pub tokens: &'static [&'static str],
    /// Also takes `ext:` followed by letters, digits, dot, hyphen, underscore.
    pub extensible: bool,
}

impl Vocabulary {
    pub fn contains(&self, token: &str) -> bool {
        self.tokens.contains(&token) || (self.extensible && is_extension(token))
    }
}

/// What [`is_extension`] takes, as a regular expression.
pub const EXTENSION: &str = r"^ext:[a-zA-Z0-9.\-_]+$";

/// `(ext:)[a-zA-Z0-9\.\-_]+`, anchored.
pub fn is_extension(token: &str) -> bool {
    token
        .strip_prefix("ext:")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)))
}

pub static STATUS: Vocabulary = Vocabulary { name: "status", tokens: &["active", "tobedeleted"], extensible: false };
pub static SESSION_TYPE: Vocabulary = Vocabulary {
    name: "academicSession.type",
    tokens: &["gradingPeriod", "semester", "schoolYear", "term"],
    extensible: true,
};
pub static ORG_TYPE: Vocabulary = Vocabulary {
    name: "org.type",
    tokens: &["department", "school", "district", "local", "state", "national"],
    extensible: true,
};
pub static CLASS_TYPE: Vocabulary =
    Vocabulary { name: "class.classType", tokens: &["homeroom", "scheduled"], extensible: true };
pub static USER_ROLE: Vocabulary = Vocabulary {
    name: "role.role",
    tokens: &[
        "aide",
        "counselor",
        "districtAdministrator",
        "guardian",
        "parent",
        "principal",
        "proctor",
        "relative",
        "siteAdministrator",
        "student",
        "systemAdministrator",
        "teacher",
    ],
    extensible: true,
};
pub static ROLE_TYPE: Vocabulary =
    Vocabulary { name: "role.roleType", tokens: &["primary", "secondary"], extensible: false };
pub static ENROLLMENT_ROLE: Vocabulary = Vocabulary {
    name: "enrollment.role",
    tokens: &["administrator", "proctor", "student", "teacher"],
    extensible: true,
};
pub static SEX: Vocabulary =
    Vocabulary { name: "demographics.sex", tokens: &["male", "female", "unspecified", "other"], extensible: true };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_anchored() {
        assert!(SEX.contains("female"));
        assert!(SEX.contains("ext:x-1.a_b"));
        assert!(!SEX.contains("ext:"));
        assert!(!SEX.contains("ext:a b"));
        assert!(!SEX.contains("an ext:a"));
        assert!(!ROLE_TYPE.contains("ext:a"));
        assert!(!SEX.contains("Female"));
    }
}
