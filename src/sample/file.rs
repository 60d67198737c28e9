//! The files of a set and their columns, in the order of the binding.

use super::Dialect;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum File {
    AcademicSessions,
    Classes,
    Courses,
    Demographics,
    Enrollments,
    Orgs,
    Roles,
    UserProfiles,
    Users,
}

impl File {
    /// In the order in which they stand in the zip.
    pub(super) const ALL: [Self; 9] = [
        Self::AcademicSessions,
        Self::Classes,
        Self::Courses,
        Self::Demographics,
        Self::Enrollments,
        Self::Orgs,
        Self::Roles,
        Self::UserProfiles,
        Self::Users,
    ];

    /// The name without `.csv`.
    pub(super) fn stem(self) -> &'static str {
        match self {
            Self::AcademicSessions => "academicSessions",
            Self::Classes => "classes",
            Self::Courses => "courses",
            Self::Demographics => "demographics",
            Self::Enrollments => "enrollments",
            Self::Orgs => "orgs",
            Self::Roles => "roles",
            Self::UserProfiles => "userProfiles",
            Self::Users => "users",
        }
    }

    pub(super) fn csv_name(self) -> &'static str {
        match self {
            Self::AcademicSessions => "academicSessions.csv",
            Self::Classes => "classes.csv",
            Self::Courses => "courses.csv",
            Self::Demographics => "demographics.csv",
            Self::Enrollments => "enrollments.csv",
            Self::Orgs => "orgs.csv",
            Self::Roles => "roles.csv",
            Self::UserProfiles => "userProfiles.csv",
            Self::Users => "users.csv",
        }
    }

    /// Whether pupils have rows in this file; a pass over the others need not visit them.
    pub(super) fn has_pupils(self) -> bool {
        matches!(self, Self::Demographics | Self::Enrollments | Self::Roles | Self::UserProfiles | Self::Users)
    }

    pub(super) fn columns(self, dialect: Dialect) -> Vec<&'static str> {
        let mut columns = vec!["sourcedId", "status", "dateLastModified"];
        columns.extend(self.own_columns());
        columns.extend(self.metadata_columns(dialect));
        columns
    }

    fn own_columns(self) -> &'static [&'static str] {
        match self {
            Self::AcademicSessions => &["title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear"],
            Self::Classes => &[
                "title",
                "grades",
                "courseSourcedId",
                "classCode",
                "classType",
                "location",
                "schoolSourcedId",
                "termSourcedIds",
                "subjects",
                "subjectCodes",
                "periods",
            ],
            Self::Courses => {
                &["schoolYearSourcedId", "title", "courseCode", "grades", "orgSourcedId", "subjects", "subjectCodes"]
            }
            Self::Demographics => &[
                "birthDate",
                "sex",
                "americanIndianOrAlaskaNative",
                "asian",
                "blackOrAfricanAmerican",
                "nativeHawaiianOrOtherPacificIslander",
                "white",
                "demographicRaceTwoOrMoreRaces",
                "hispanicOrLatinoEthnicity",
                "countryOfBirthCode",
                "stateOfBirthAbbreviation",
                "cityOfBirth",
                "publicSchoolResidenceStatus",
            ],
            Self::Enrollments => {
                &["classSourcedId", "schoolSourcedId", "userSourcedId", "role", "primary", "beginDate", "endDate"]
            }
            Self::Orgs => &["name", "type", "identifier", "parentSourcedId"],
            Self::Roles => {
                &["userSourcedId", "roleType", "role", "beginDate", "endDate", "orgSourcedId", "userProfileSourcedId"]
            }
            Self::UserProfiles => &[
                "userSourcedId",
                "profileType",
                "vendorId",
                "applicationId",
                "description",
                "credentialType",
                "username",
                "password",
            ],
            Self::Users => &[
                "enabledUser",
                "username",
                "userIds",
                "givenName",
                "familyName",
                "middleName",
                "identifier",
                "email",
                "sms",
                "phone",
                "agentSourcedIds",
                "grades",
                "password",
                "userMasterIdentifier",
                "preferredGivenName",
                "preferredMiddleName",
                "preferredFamilyName",
                "primaryOrgSourcedId",
                "pronouns",
            ],
        }
    }

    /// The columns of the Japanese profile. The domestic one differs in the spelling of two of
    /// them.
    fn metadata_columns(self, dialect: Dialect) -> &'static [&'static str] {
        match (self, dialect) {
            (_, Dialect::Base) => &[],
            (Self::Classes, _) => &["metadata.jp.specialNeeds"],
            (Self::Enrollments, Dialect::JapanDomestic) => &["metadata.jp.ShussekiNo", "metadata.jp.PublicFlg"],
            (Self::Enrollments, Dialect::JapanFinal) => &["metadata.jp.shussekiNo", "metadata.jp.publicFlg"],
            (Self::Users, _) => &[
                "metadata.jp.kanaGivenName",
                "metadata.jp.kanaFamilyName",
                "metadata.jp.kanaMiddleName",
                "metadata.jp.homeClass",
                "metadata.jp.kanaPreferredFamilyName",
                "metadata.jp.kanaPreferredGivenName",
                "metadata.jp.kanaPreferredMiddleName",
            ],
            _ => &[],
        }
    }
}
