//! Which records belong to a record, as data: the relations that a graph of the roster can be walked along, besides
//! the references in the records themselves.

use super::endpoint::{NESTED, TERMS_OF_SCHOOL, at_org, attended, enrolled};
use crate::auth::Scope;
use crate::roster::EntityType::{self, AcademicSession, Class, Course, Enrollment, Org, User};

/// The records of a type that belong to a record.
#[derive(Debug)]
pub struct Relation {
    /// Whose they are.
    pub of: EntityType,
    pub name: &'static str,
    /// What they are.
    pub kind: EntityType,
    /// SQL: which rows `r` belong; `{1}` is the sourcedId of the record, `{classes}` that read model as it stood.
    pub condition: &'static str,
    /// Of these a client needs one.
    pub scopes: &'static [Scope],
    pub doc: &'static str,
}

const fn relation(
    of: EntityType,
    name: &'static str,
    kind: EntityType,
    condition: &'static str,
    doc: &'static str,
) -> Relation {
    Relation { of, name, kind, condition, scopes: NESTED, doc }
}

const BELOW: &str = "r.parent_sourced_id = {1}";

/// All there are. Those with an operation in the Rostering service follow the same rules as there.
pub static RELATIONS: [Relation; 21] = [
    relation(AcademicSession, "children", AcademicSession, BELOW, "Academic sessions that name this one as parent."),
    relation(
        AcademicSession,
        "gradingPeriods",
        AcademicSession,
        "r.type = 'gradingPeriod' and r.parent_sourced_id = {1}",
        "Grading periods of the term.",
    ),
    relation(
        AcademicSession,
        "classes",
        Class,
        "r.term_sourced_ids @> array[{1}]",
        "Classes that run in the academic session.",
    ),
    relation(AcademicSession, "courses", Course, "r.school_year_sourced_id = {1}", "Courses of the school year."),
    relation(Org, "children", Org, BELOW, "Orgs that name this one as parent."),
    relation(Org, "classes", Class, "r.school_sourced_id = {1}", "Classes of the school."),
    relation(Org, "courses", Course, "r.org_sourced_id = {1}", "Courses that the org offers."),
    relation(Org, "enrollments", Enrollment, "r.school_sourced_id = {1}", "Enrollments in classes of the school."),
    relation(Org, "users", User, at_org!(""), "Users with an active role at the org, whatever it is."),
    relation(Org, "students", User, at_org!(" and x.role = 'student'"), "Users with the role student at the org."),
    relation(Org, "teachers", User, at_org!(" and x.role = 'teacher'"), "Users with the role teacher at the org."),
    relation(Org, "terms", AcademicSession, TERMS_OF_SCHOOL, "Terms in which classes of the school run."),
    relation(Course, "classes", Class, "r.course_sourced_id = {1}", "Classes in which the course is taught."),
    relation(Class, "enrollments", Enrollment, "r.class_sourced_id = {1}", "Enrollments in the class."),
    relation(Class, "students", User, enrolled!("student", "{1}"), "Users enrolled in the class as student."),
    relation(Class, "teachers", User, enrolled!("teacher", "{1}"), "Users enrolled in the class as teacher."),
    relation(User, "enrollments", Enrollment, "r.user_sourced_id = {1}", "Enrollments of the user."),
    relation(User, "classes", Class, attended!(""), "Classes in which the user is enrolled, whatever the role."),
    relation(
        User,
        "classesAsStudent",
        Class,
        attended!(" and x.role = 'student'"),
        "Classes in which the user is enrolled as student.",
    ),
    relation(
        User,
        "classesAsTeacher",
        Class,
        attended!(" and x.role = 'teacher'"),
        "Classes in which the user is enrolled as teacher.",
    ),
    relation(
        User,
        "agentOf",
        User,
        "r.agent_sourced_ids <> '{}' and r.agent_sourced_ids @> array[{1}]",
        "Users who name this one among their agents.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_has_a_name_of_its_own() {
        for relation in &RELATIONS {
            assert!(relation.condition.contains("{1}"), "{}", relation.name);
            let same = RELATIONS.iter().filter(|other| (other.of, other.name) == (relation.of, relation.name));
            assert_eq!(same.count(), 1, "{}", relation.name);
        }
    }
}
