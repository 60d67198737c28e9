//! The record types of OneRoster 1.2 Rostering, fields in the order of the CSV binding's columns.
//!
//! `required()` holds for CSV and JSON, `csv_required()` and `json_required()` for one of them (model §6). Adding
//! resources or gradebook records means adding tables here, a read model and a projection.

use super::field::{Field, date, flag, guid, guid_ref, guid_refs, list, text, token, user_ids, year};
use super::record::{Metadata, Record, check, record};
use super::value::{Date, FieldValue, Flag, Ref, Refs, Text, TextList, UserId};
use super::vocabulary::{CLASS_TYPE, ENROLLMENT_ROLE, ORG_TYPE, ROLE_TYPE, SESSION_TYPE, SEX, USER_ROLE};
use super::{Code, Entity, EntityType, Fault};

record! {
    /// A stretch of time in which classes run: school year, semester, term, grading period.
    AcademicSession = "academicSession" in "academicSessions", table "academic_sessions", tag session_type {
        /// Title shown to people, for example 2026年度.
        title: Text, "title" = text("title").required();
        /// gradingPeriod, semester, schoolYear or term.
        session_type: Text, "type" = token("type", &SESSION_TYPE).required();
        /// First day, included.
        start_date: Date, "startDate" = date("startDate").required();
        /// First day after, by the base text; Japan writes the last day.
        end_date: Date, "endDate" = date("endDate").required();
        /// The session this one is part of.
        parent: Ref, "parent" = guid_ref("parentSourcedId", EntityType::AcademicSession).null_word();
        /// YYYY: the year in which the school year ends by the base text; in Japan the year in which it begins.
        school_year: Text, "schoolYear" = year("schoolYear").required();
    }
}

record! {
    /// A school, or an organisation above or within schools.
    Org = "org" in "orgs", table "orgs", tag org_type {
        /// Name shown to people.
        name: Text, "name" = text("name").required();
        /// department, school, district, local, state or national.
        org_type: Text, "type" = token("type", &ORG_TYPE).required();
        /// Code that people know; in Japan the school code or board code.
        identifier: Text, "identifier" = text("identifier").code().json_required();
        /// The org above.
        parent: Ref, "parent" = guid_ref("parentSourcedId", EntityType::Org).null_word();
    }
}

record! {
    /// A course of study, taught in one or more classes.
    Course = "course" in "courses", table "courses" {
        /// The school year it belongs to.
        school_year: Ref, "schoolYear" = guid_ref("schoolYearSourcedId", EntityType::AcademicSession).of_type("schoolYear");
        /// Title shown to people.
        title: Text, "title" = text("title").required();
        /// Code that people know; blank in Japan.
        course_code: Text, "courseCode" = text("courseCode").code().json_required();
        /// Grades it is for.
        grades: TextList, "grades" = list("grades").code();
        /// The org that offers it.
        org: Ref, "org" = guid_ref("orgSourcedId", EntityType::Org).csv_required();
        /// Subject names.
        subjects: TextList, "subjects" = list("subjects");
        /// Subject codes, as many as subjects and in their order.
        subject_codes: TextList, "subjectCodes" = list("subjectCodes").code();
    }
}

record! {
    /// A class: a homeroom, or a group that is taught a course.
    Class = "class" in "classes", table "classes" {
        /// Title shown to people.
        title: Text, "title" = text("title").required();
        /// Grades of its pupils.
        grades: TextList, "grades" = list("grades").code();
        /// The course taught.
        course: Ref, "course" = guid_ref("courseSourcedId", EntityType::Course).required();
        /// Code that people know.
        class_code: Text, "classCode" = text("classCode").code();
        /// homeroom or scheduled.
        class_type: Text, "classType" = token("classType", &CLASS_TYPE).csv_required();
        /// Room.
        location: Text, "location" = text("location");
        /// The school it belongs to.
        school: Ref, "school" = guid_ref("schoolSourcedId", EntityType::Org).of_type("school").required();
        /// Academic sessions in which it runs.
        terms: Refs, "terms" = guid_refs("termSourcedIds", EntityType::AcademicSession).required();
        /// Subject names.
        subjects: TextList, "subjects" = list("subjects");
        /// Subject codes, as many as subjects and in their order.
        subject_codes: TextList, "subjectCodes" = list("subjectCodes").code();
        /// Time slots of the day.
        periods: TextList, "periods" = list("periods").code();
    }
}

record! {
    /// A person: pupil, teacher, guardian, member of staff. Roles and profiles are records of their own.
    User = "user" in "users", table "users" {
        /// "false": the record is active but access is curtailed.
        enabled_user: Option<Flag>, "enabledUser" = flag("enabledUser").required();
        /// Login name.
        username: Text, "username" = text("username").csv_required().personal();
        /// Ids in other systems.
        user_ids: Vec<UserId>, "userIds" = user_ids("userIds").personal();
        /// Given name.
        given_name: Text, "givenName" = text("givenName").required().personal();
        /// Family name.
        family_name: Text, "familyName" = text("familyName").required().personal();
        /// Middle names, separated by spaces.
        middle_name: Text, "middleName" = text("middleName").personal();
        /// Id that people know.
        identifier: Text, "identifier" = text("identifier").code().personal();
        /// E-mail address.
        email: Text, "email" = text("email").personal();
        /// Number for text messages.
        sms: Text, "sms" = text("sms").personal();
        /// Telephone number.
        phone: Text, "phone" = text("phone").personal();
        /// Related people, such as a pupil's guardians.
        agents: Refs, "agents" = guid_refs("agentSourcedIds", EntityType::User).personal();
        /// Grades, for pupils.
        grades: TextList, "grades" = list("grades").code();
        /// Id of the person across systems and years; a UUID in Japan.
        user_master_identifier: Text, "userMasterIdentifier" = text("userMasterIdentifier").code().personal();
        /// Given name the person goes by.
        preferred_first_name: Text, "preferredFirstName" = text("preferredGivenName").personal();
        /// Middle name the person goes by.
        preferred_middle_name: Text, "preferredMiddleName" = text("preferredMiddleName").personal();
        /// Family name the person goes by.
        preferred_last_name: Text, "preferredLastName" = text("preferredFamilyName").personal();
        /// The org the person mainly belongs to.
        primary_org: Ref, "primaryOrg" = guid_ref("primaryOrgSourcedId", EntityType::Org);
        /// Pronouns the person goes by.
        pronouns: Text, "pronouns" = text("pronouns").personal();
    }
}

record! {
    /// What a user is at an org. REST shows it inside the user.
    Role = "role" in "roles", table "roles" {
        /// Whose role it is.
        user: Ref, "user" = guid_ref("userSourcedId", EntityType::User).required().personal();
        /// primary (one per user and org) or secondary.
        role_type: Text, "roleType" = token("roleType", &ROLE_TYPE).required();
        /// student, teacher, principal, …
        role: Text, "role" = token("role", &USER_ROLE).required();
        /// First day, included.
        begin_date: Date, "beginDate" = date("beginDate");
        /// First day after, by the base text; Japan writes the last day.
        end_date: Date, "endDate" = date("endDate");
        /// Where the role holds.
        org: Ref, "org" = guid_ref("orgSourcedId", EntityType::Org).required();
        /// The profile to use in this role, one of the same user's.
        user_profile: Text, "userProfile" = guid("userProfileSourcedId", EntityType::UserProfile).personal();
    }
}

record! {
    /// An account of a user with a tool. REST shows it inside the user. Passwords are not taken in.
    UserProfile = "userProfile" in "userProfiles", table "user_profiles" {
        /// Whose profile it is.
        user: Ref, "user" = guid_ref("userSourcedId", EntityType::User).required().personal();
        /// Label for people.
        profile_type: Text, "profileType" = text("profileType").required();
        /// Vendor of the tool.
        vendor_id: Text, "vendorId" = text("vendorId").code().required();
        /// The tool; default means all of the vendor's.
        application_id: Text, "applicationId" = text("applicationId").code();
        /// Description for people.
        description: Text, "description" = text("description");
        /// When to use this credential.
        credential_type: Text, "credentialType" = text("credentialType").code().required();
        /// Login name with the tool.
        username: Text, "username" = text("username").required().personal();
    }
}

record! {
    /// A user's place in a class.
    Enrollment = "enrollment" in "enrollments", table "enrollments" {
        /// The class.
        class: Ref, "class" = guid_ref("classSourcedId", EntityType::Class).required();
        /// The class's school.
        school: Ref, "school" = guid_ref("schoolSourcedId", EntityType::Org).of_type("school").required();
        /// Who is enrolled.
        user: Ref, "user" = guid_ref("userSourcedId", EntityType::User).required().personal();
        /// administrator, proctor, student or teacher.
        role: Text, "role" = token("role", &ENROLLMENT_ROLE).required();
        /// "true" for the class's main teacher.
        primary: Option<Flag>, "primary" = flag("primary").json_required();
        /// First day, included.
        begin_date: Date, "beginDate" = date("beginDate");
        /// First day after, by the base text; Japan writes the last day.
        end_date: Date, "endDate" = date("endDate");
    }
}

record! {
    /// Demographics of a person, under the sourcedId of the user.
    Demographics = "demographics" in "demographics", table "demographics", identified by User {
        /// Date of birth.
        birth_date: Date, "birthDate" = date("birthDate").personal();
        /// male, female, unspecified or other.
        sex: Text, "sex" = token("sex", &SEX).personal();
        /// As the standard's United States vocabulary names it; normally empty in Japan.
        american_indian_or_alaska_native: Option<Flag>, "americanIndianOrAlaskaNative" = flag("americanIndianOrAlaskaNative").personal();
        /// As above, from the United States vocabulary.
        asian: Option<Flag>, "asian" = flag("asian").personal();
        /// As above, from the United States vocabulary.
        black_or_african_american: Option<Flag>, "blackOrAfricanAmerican" = flag("blackOrAfricanAmerican").personal();
        /// As above, from the United States vocabulary.
        native_hawaiian_or_other_pacific_islander: Option<Flag>, "nativeHawaiianOrOtherPacificIslander" = flag("nativeHawaiianOrOtherPacificIslander").personal();
        /// As above, from the United States vocabulary.
        white: Option<Flag>, "white" = flag("white").personal();
        /// As above, from the United States vocabulary.
        demographic_race_two_or_more_races: Option<Flag>, "demographicRaceTwoOrMoreRaces" = flag("demographicRaceTwoOrMoreRaces").personal();
        /// As above, from the United States vocabulary.
        hispanic_or_latino_ethnicity: Option<Flag>, "hispanicOrLatinoEthnicity" = flag("hispanicOrLatinoEthnicity").personal();
        /// Country of birth, by a code agreed locally.
        country_of_birth_code: Text, "countryOfBirthCode" = text("countryOfBirthCode").code().personal();
        /// State or prefecture of birth, by a code agreed locally.
        state_of_birth_abbreviation: Text, "stateOfBirthAbbreviation" = text("stateOfBirthAbbreviation").code().personal();
        /// City of birth.
        city_of_birth: Text, "cityOfBirth" = text("cityOfBirth").personal();
        /// Residence status, by a vocabulary agreed locally.
        public_school_residence_status: Text, "publicSchoolResidenceStatus" = text("publicSchoolResidenceStatus").code().personal();
    }
}
