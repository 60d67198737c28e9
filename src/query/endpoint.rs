//! The operations of the Rostering service, as data (REST binding, 41 operations).

use crate::auth::Scope;
use crate::roster::EntityType;

/// One operation: a collection, one of its records, or a collection within other records.
pub struct Endpoint {
    pub operation_id: &'static str,
    /// Below the service's address; parameters in braces (`schools/{schoolSourcedId}/classes`).
    pub path: &'static str,
    /// What is answered with.
    pub kind: EntityType,
    pub is_single: bool,
    /// Of these a token needs one.
    pub scopes: &'static [Scope],
    /// SQL: which rows `r` belong. `{1}`, `{2}`: the path's parameters; `{classes}`: that read model as it stood.
    pub condition: &'static str,
    /// SQL, one for each parameter but a single record's: the row `p` of `{schools}`-like collections must be there.
    pub parents: &'static [Parent],
    pub summary: &'static str,
}

/// A record that the path names and that must be there.
pub struct Parent {
    /// The operation that reads it alone, for its name and condition.
    pub collection: &'static str,
    pub condition: &'static str,
}

pub(super) const CORE: &[Scope] = &[Scope::RosterCore, Scope::Roster];
pub(super) const NESTED: &[Scope] = &[Scope::Roster];
pub(super) const DEMOGRAPHICS: &[Scope] = &[Scope::Demographics];

const IS_TERM: &str = "r.type = 'term'";
const IS_GRADING_PERIOD: &str = "r.type = 'gradingPeriod'";
const IS_SCHOOL: &str = "r.type = 'school'";
const IS_STUDENT: &str = "r.roles @> '{student}'";
const IS_TEACHER: &str = "r.roles @> '{teacher}'";
/// All of the read model.
pub(super) const ALL: &str = "true";

const SCHOOL: Parent = Parent { collection: "schools", condition: ALL };
const CLASS: Parent = Parent { collection: "classes", condition: ALL };
const CLASS_OF_SCHOOL: Parent = Parent { collection: "classes", condition: "r.school_sourced_id = {1}" };
const COURSE: Parent = Parent { collection: "courses", condition: ALL };
const TERM: Parent = Parent { collection: "terms", condition: ALL };
const USER: Parent = Parent { collection: "users", condition: ALL };
const STUDENT: Parent = Parent { collection: "students", condition: ALL };
const TEACHER: Parent = Parent { collection: "teachers", condition: ALL };

/// Users in the class of the last parameter; who is to be deleted from it is in it no more.
macro_rules! enrolled {
    ($role:literal, $class:literal) => {
        concat!(
            "r.sourced_id in (select x.user_sourced_id from {enrollments} x where x.tenant = $1 and x.class_sourced_id = ",
            $class, " and x.role = '", $role, "' and x.status = 'active')"
        )
    };
}
/// Classes of the user of the first parameter.
macro_rules! attended {
    ($role:literal) => {
        concat!(
            "r.sourced_id in (select x.class_sourced_id from {enrollments} x where x.tenant = $1 and x.user_sourced_id = {1} and x.status = 'active'",
            $role, ")"
        )
    };
}
/// Users with a role at the org of the first parameter.
macro_rules! at_org {
    ($role:literal) => {
        concat!(
            "r.sourced_id in (select x.user_sourced_id from {roles} x where x.tenant = $1 and x.org_sourced_id = {1}",
            $role,
            " and x.status = 'active')"
        )
    };
}
pub(super) use {at_org, attended, enrolled};

pub(super) const TERMS_OF_SCHOOL: &str = "r.type = 'term' and r.sourced_id in (select unnest(x.term_sourced_ids) from {classes} x where x.tenant = $1 \
     and x.school_sourced_id = {1} and x.status = 'active')";

const fn all(
    operation_id: &'static str,
    path: &'static str,
    kind: EntityType,
    condition: &'static str,
    summary: &'static str,
) -> Endpoint {
    Endpoint { operation_id, path, kind, is_single: false, scopes: CORE, condition, parents: &[], summary }
}

const fn one(mut all: Endpoint, operation_id: &'static str, path: &'static str, summary: &'static str) -> Endpoint {
    all.operation_id = operation_id;
    all.path = path;
    all.is_single = true;
    all.summary = summary;
    all
}

const fn of_demographics(mut endpoint: Endpoint) -> Endpoint {
    endpoint.scopes = DEMOGRAPHICS;
    endpoint
}

const fn nested(
    operation_id: &'static str,
    path: &'static str,
    kind: EntityType,
    parents: &'static [Parent],
    condition: &'static str,
    summary: &'static str,
) -> Endpoint {
    Endpoint { operation_id, path, kind, is_single: false, scopes: NESTED, condition, parents, summary }
}

const SESSIONS: Endpoint = all(
    "getAllAcademicSessions",
    "academicSessions",
    EntityType::AcademicSession,
    ALL,
    "All academic sessions, of any type.",
);
const TERMS: Endpoint =
    all("getAllTerms", "terms", EntityType::AcademicSession, IS_TERM, "Academic sessions of type term.");
const GRADING_PERIODS: Endpoint = all(
    "getAllGradingPeriods",
    "gradingPeriods",
    EntityType::AcademicSession,
    IS_GRADING_PERIOD,
    "Academic sessions of type gradingPeriod.",
);
const ORGS: Endpoint = all("getAllOrgs", "orgs", EntityType::Org, ALL, "All orgs, schools included.");
const SCHOOLS: Endpoint = all("getAllSchools", "schools", EntityType::Org, IS_SCHOOL, "Orgs of type school.");
const COURSES: Endpoint = all("getAllCourses", "courses", EntityType::Course, ALL, "All courses.");
const CLASSES: Endpoint = all("getAllClasses", "classes", EntityType::Class, ALL, "All classes.");
const USERS: Endpoint = all("getAllUsers", "users", EntityType::User, ALL, "All users, whatever their roles.");
const STUDENTS: Endpoint =
    all("getAllStudents", "students", EntityType::User, IS_STUDENT, "Users with the role student.");
const TEACHERS: Endpoint =
    all("getAllTeachers", "teachers", EntityType::User, IS_TEACHER, "Users with the role teacher.");
const ENROLLMENTS: Endpoint =
    all("getAllEnrollments", "enrollments", EntityType::Enrollment, ALL, "All enrollments of users in classes.");
const DEMOGRAPHIC_RECORDS: Endpoint = of_demographics(all(
    "getAllDemographics",
    "demographics",
    EntityType::Demographics,
    ALL,
    "Demographics of all users, under the users' sourcedIds.",
));

/// All operations: collections, single records, nested collections.
pub static ENDPOINTS: [Endpoint; 41] = [
    SESSIONS,
    one(SESSIONS, "getAcademicSession", "academicSessions/{sourcedId}", "One academic session."),
    TERMS,
    one(TERMS, "getTerm", "terms/{sourcedId}", "One term."),
    GRADING_PERIODS,
    one(GRADING_PERIODS, "getGradingPeriod", "gradingPeriods/{sourcedId}", "One grading period."),
    ORGS,
    one(ORGS, "getOrg", "orgs/{sourcedId}", "One org."),
    SCHOOLS,
    one(SCHOOLS, "getSchool", "schools/{sourcedId}", "One school."),
    COURSES,
    one(COURSES, "getCourse", "courses/{sourcedId}", "One course."),
    CLASSES,
    one(CLASSES, "getClass", "classes/{sourcedId}", "One class."),
    USERS,
    one(USERS, "getUser", "users/{sourcedId}", "One user."),
    STUDENTS,
    one(STUDENTS, "getStudent", "students/{sourcedId}", "One student."),
    TEACHERS,
    one(TEACHERS, "getTeacher", "teachers/{sourcedId}", "One teacher."),
    ENROLLMENTS,
    one(ENROLLMENTS, "getEnrollment", "enrollments/{sourcedId}", "One enrollment."),
    DEMOGRAPHIC_RECORDS,
    one(DEMOGRAPHIC_RECORDS, "getDemographics", "demographics/{sourcedId}", "Demographics of one user."),
    nested(
        "getStudentsForClass",
        "classes/{classSourcedId}/students",
        EntityType::User,
        &[CLASS],
        enrolled!("student", "{1}"),
        "Users enrolled in the class as student.",
    ),
    nested(
        "getTeachersForClass",
        "classes/{classSourcedId}/teachers",
        EntityType::User,
        &[CLASS],
        enrolled!("teacher", "{1}"),
        "Users enrolled in the class as teacher.",
    ),
    nested(
        "getClassesForCourse",
        "courses/{courseSourcedId}/classes",
        EntityType::Class,
        &[COURSE],
        "r.course_sourced_id = {1}",
        "Classes in which the course is taught.",
    ),
    nested(
        "getClassesForSchool",
        "schools/{schoolSourcedId}/classes",
        EntityType::Class,
        &[SCHOOL],
        "r.school_sourced_id = {1}",
        "Classes of the school.",
    ),
    nested(
        "getEnrollmentsForClassInSchool",
        "schools/{schoolSourcedId}/classes/{classSourcedId}/enrollments",
        EntityType::Enrollment,
        &[SCHOOL, CLASS_OF_SCHOOL],
        "r.class_sourced_id = {2}",
        "Enrollments in the class of the school.",
    ),
    nested(
        "getStudentsForClassInSchool",
        "schools/{schoolSourcedId}/classes/{classSourcedId}/students",
        EntityType::User,
        &[SCHOOL, CLASS_OF_SCHOOL],
        enrolled!("student", "{2}"),
        "Users enrolled in the class of the school as student.",
    ),
    nested(
        "getTeachersForClassInSchool",
        "schools/{schoolSourcedId}/classes/{classSourcedId}/teachers",
        EntityType::User,
        &[SCHOOL, CLASS_OF_SCHOOL],
        enrolled!("teacher", "{2}"),
        "Users enrolled in the class of the school as teacher.",
    ),
    nested(
        "getCoursesForSchool",
        "schools/{schoolSourcedId}/courses",
        EntityType::Course,
        &[SCHOOL],
        "r.org_sourced_id = {1}",
        "Courses that the school offers.",
    ),
    nested(
        "getEnrollmentsForSchool",
        "schools/{schoolSourcedId}/enrollments",
        EntityType::Enrollment,
        &[SCHOOL],
        "r.school_sourced_id = {1}",
        "Enrollments in classes of the school.",
    ),
    nested(
        "getStudentsForSchool",
        "schools/{schoolSourcedId}/students",
        EntityType::User,
        &[SCHOOL],
        at_org!(" and x.role = 'student'"),
        "Users with the role student at the school.",
    ),
    nested(
        "getTeachersForSchool",
        "schools/{schoolSourcedId}/teachers",
        EntityType::User,
        &[SCHOOL],
        at_org!(" and x.role = 'teacher'"),
        "Users with the role teacher at the school.",
    ),
    nested(
        "getTermsForSchool",
        "schools/{schoolSourcedId}/terms",
        EntityType::AcademicSession,
        &[SCHOOL],
        TERMS_OF_SCHOOL,
        "Terms in which classes of the school run.",
    ),
    nested(
        "getClassesForStudent",
        "students/{studentSourcedId}/classes",
        EntityType::Class,
        &[STUDENT],
        attended!(" and x.role = 'student'"),
        "Classes in which the user is enrolled as student.",
    ),
    nested(
        "getClassesForTeacher",
        "teachers/{teacherSourcedId}/classes",
        EntityType::Class,
        &[TEACHER],
        attended!(" and x.role = 'teacher'"),
        "Classes in which the user is enrolled as teacher.",
    ),
    nested(
        "getClassesForTerm",
        "terms/{termSourcedId}/classes",
        EntityType::Class,
        &[TERM],
        "r.term_sourced_ids @> array[{1}]",
        "Classes that run in the term.",
    ),
    nested(
        "getGradingPeriodsForTerm",
        "terms/{termSourcedId}/gradingPeriods",
        EntityType::AcademicSession,
        &[TERM],
        "r.type = 'gradingPeriod' and r.parent_sourced_id = {1}",
        "Grading periods of the term.",
    ),
    nested(
        "getClassesForUser",
        "users/{userSourcedId}/classes",
        EntityType::Class,
        &[USER],
        attended!(""),
        "Classes in which the user is enrolled, whatever the role.",
    ),
];

impl Endpoint {
    /// The collection of this path (`schools`).
    pub fn collection(path: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|e| e.path == path)
    }

    /// The member that the answer consists of: GUIDRef type or collection name.
    pub fn member(&self) -> &'static str {
        let entity = self.kind.entity();
        if self.is_single { entity.name } else { entity.collection }
    }

    /// Whether the answer is about people, be it that there are none.
    pub fn is_personal(&self) -> bool {
        self.is_of_people() || self.is_of_one()
    }

    /// Whether the records are about users.
    pub fn is_of_people(&self) -> bool {
        matches!(self.kind, EntityType::User | EntityType::Demographics | EntityType::Enrollment)
    }

    /// Whether the list is of what belongs to the user that the path names first, as a pupil's classes.
    pub fn is_of_one(&self) -> bool {
        let first = self.parents.first().map(|parent| parent.collection);
        first.is_some_and(|first| ["users", "students", "teachers"].contains(&first))
    }

    /// Names of the path's parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|step| step.strip_prefix('{')?.strip_suffix('}'))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_operations_are_all_there_and_tell_their_parents() {
        let paths: BTreeSet<_> = ENDPOINTS.iter().map(|e| e.path).collect();
        assert_eq!(paths.len(), 41);
        assert_eq!(ENDPOINTS.iter().filter(|e| e.scopes == CORE).count(), 22);
        assert_eq!(ENDPOINTS.iter().filter(|e| e.scopes == NESTED).count(), 17);
        for endpoint in &ENDPOINTS {
            let parameters = endpoint.parameters().count();
            assert_eq!(parameters, endpoint.parents.len() + usize::from(endpoint.is_single), "{}", endpoint.path);
            for (parent, step) in endpoint.parents.iter().zip(endpoint.path.split('/').step_by(2)) {
                assert_eq!(parent.collection, step);
                assert!(Endpoint::collection(parent.collection).is_some());
            }
            // How `list` finds the read models that a condition asks.
            assert_eq!(
                endpoint.condition.matches("} x").count(),
                endpoint.condition.matches("} x where x.tenant = $1 and ").count()
            );
            for n in 1..=2 {
                let named = endpoint.condition.contains(&format!("{{{n}}}"));
                assert!(!named || n <= parameters, "{}", endpoint.path);
            }
        }
    }
}
