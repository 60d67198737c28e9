//! OneRoster 1.1 tells a user's role and orgs in users.csv: here they become records of roles.

use sha2::{Digest, Sha256};

use crate::roster::value::GuidRef;
use crate::roster::{EntityType, Role};

/// Types of orgs above schools.
pub const ABOVE_SCHOOLS: [&str; 4] = ["district", "local", "state", "national"];

/// Roles of 1.1. `administrator` depends on the org.
const ROLES: [&str; 8] = ["administrator", "aide", "guardian", "parent", "proctor", "relative", "student", "teacher"];

/// Whether 1.1 has this role.
pub fn is_role(role: &str) -> bool {
    ROLES.contains(&role) || role.strip_prefix("ext:").is_some_and(|rest| !rest.is_empty())
}

/// The role of a user at an org, and its id: the same for the same user and org, whatever else changes. Each is
/// `primary`, since it is the only one there.
pub fn role(user: &str, role: &str, org: &str, above_schools: bool) -> (String, Role) {
    let role = match (role, above_schools) {
        ("administrator", true) => "districtAdministrator",
        ("administrator", false) => "siteAdministrator",
        (role, _) => role,
    };
    let reference = |id: &str, kind| Some(GuidRef { sourced_id: id.to_owned(), kind });
    let record = Role {
        user: reference(user, EntityType::User),
        role_type: Some("primary".to_owned()),
        role: Some(role.to_owned()),
        org: reference(org, EntityType::Org),
        ..Role::default()
    };
    (id(user, org), record)
}

/// Neither part can hold the line break.
pub fn id(user: &str, org: &str) -> String {
    let hash = Sha256::digest(format!("{user}\n{org}"));
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("role-{hex}")
}
