use serde_json::json;

use super::*;

fn faults(kind: EntityType, document: Value) -> Vec<(String, Code, String)> {
    let (_, faults) = Draft::read(kind, "x", &document, &[]);
    faults.into_iter().map(|f| (f.field, f.code, f.value)).collect()
}

fn draft(kind: EntityType, document: Value) -> Draft {
    let (draft, faults) = Draft::read(kind, "x", &document, &[]);
    assert_eq!(faults, []);
    draft.unwrap()
}

fn fault(field: &str, code: Code, value: &str) -> (String, Code, String) {
    (field.to_owned(), code, value.to_owned())
}

#[test]
fn what_a_read_shows_is_what_the_log_keeps() {
    let read = draft(
        EntityType::Class,
        json!({
            "sourcedId": "x", "status": "active", "dateLastModified": "2026-04-01T00:00:00.000Z",
            "title": "1年1組", "classType": "homeroom", "grades": ["P1"], "location": "", "classCode": null,
            "course": { "href": "http://h/courses/c", "sourcedId": "c", "type": "course" },
            "school": { "sourcedId": "s" }, "terms": [{ "sourcedId": "t", "type": "academicSession" }],
            "metadata": { "jp.specialNeeds": true, "room": 12, "x": "y", "none": null }
        }),
    );
    assert_eq!(
        read.record,
        json!({
            "title": "1年1組", "grades": ["P1"], "course": { "sourcedId": "c", "type": "course" },
            "classType": "homeroom", "school": { "sourcedId": "s", "type": "org" },
            "terms": [{ "sourcedId": "t", "type": "academicSession" }],
            "metadata": { "jp.specialNeeds": "true", "room": "12", "x": "y" }
        })
    );
    let named: Vec<_> = read.references.iter().map(|r| (r.field.as_str(), r.sourced_id.as_str(), r.tag)).collect();
    assert_eq!(
        named,
        [("course.sourcedId", "c", None), ("school.sourcedId", "s", Some("school")), ("terms[0].sourcedId", "t", None)]
    );
}

#[test]
fn every_fault_is_told_with_its_place() {
    assert_eq!(
        faults(
            EntityType::Class,
            json!({
                "sourcedId": "y", "status": "gone", "dateLastModified": "yesterday", "title": 5,
                "grades": ["P1", 2, ""], "colour": "red", "classType": "x",
                "course": { "sourcedId": "a b", "type": "org", "name": "?" }, "school": "s",
                "terms": [{ "type": "academicSession" }, { "href": 1, "sourcedId": "t" }],
                "subjectCodes": ["1"], "metadata": { "jp.specialNeeds": "yes", "list": [], "": "x" }
            })
        ),
        [
            fault("sourcedId", Code::SourcedIdMismatch, "y"),
            fault("status", Code::BadEnum, "gone"),
            fault("dateLastModified", Code::BadDateTime, "yesterday"),
            fault("title", Code::WrongType, ""),
            fault("grades[1]", Code::WrongType, ""),
            fault("grades[2]", Code::MissingRequired, ""),
            fault("colour", Code::UnknownMember, ""),
            fault("course.type", Code::ReferenceType, "org"),
            fault("course.name", Code::UnknownMember, ""),
            fault("course.sourcedId", Code::BadSourcedId, "a b"),
            fault("school", Code::WrongType, ""),
            fault("terms[0].sourcedId", Code::MissingRequired, ""),
            fault("terms[1].href", Code::WrongType, ""),
            fault("metadata.jp.specialNeeds", Code::BadBoolean, "yes"),
            fault("metadata.list", Code::WrongType, ""),
            fault("metadata.", Code::BadText, ""),
            fault("classType", Code::BadEnum, "x"),
            fault("subjectCodes", Code::SubjectCodes, "1"),
        ]
    );
    let missing: Vec<_> = faults(EntityType::Enrollment, json!({})).into_iter().map(|f| f.0).collect();
    assert_eq!(missing, ["class", "school", "user", "role"]);
    assert_eq!(faults(EntityType::Org, json!([])), [fault("", Code::WrongType, "")]);
}

#[test]
fn personal_values_are_masked() {
    let user = json!({
        "enabledUser": "perhaps", "givenName": "花\n子", "familyName": "", "email": 1,
        "userIds": [{ "type": "a" }, { "type": "b", "identifier": "\u{1}" }, "x"],
        "agents": [{ "sourcedId": "a b" }], "metadata": { "jp.kanaGivenName": "\u{1}", "other": "\u{1}" }
    });
    assert_eq!(
        faults(EntityType::User, user),
        [
            fault("enabledUser", Code::BadBoolean, "perhaps"),
            fault("email", Code::WrongType, ""),
            fault("userIds[0].identifier", Code::MissingRequired, ""),
            fault("userIds[1]", Code::BadText, "***"),
            fault("userIds[2]", Code::WrongType, ""),
            fault("agents[0].sourcedId", Code::BadSourcedId, "***"),
            fault("metadata.jp.kanaGivenName", Code::BadText, "***"),
            fault("metadata.other", Code::BadText, "***"),
            fault("givenName", Code::BadText, "***"),
            fault("familyName", Code::MissingRequired, ""),
        ]
    );
}

#[test]
fn roles_and_profiles_are_records_of_their_own() {
    let user = json!({
        "enabledUser": true, "givenName": "花子", "familyName": "佐藤", "password": "secret",
        "roles": [{
            "roleType": "primary", "role": "student", "org": { "sourcedId": "s", "type": "org" },
            "userProfile": "p", "beginDate": "2026-04-01"
        }],
        "userProfiles": [{
            "profileId": "p", "profileType": "t", "vendorId": "v",
            "credentials": [{ "type": "password", "username": "hanako", "password": "secret" }]
        }]
    });
    let draft = draft(EntityType::User, user);
    assert!(!format!("{draft:?}").contains("secret"));
    assert_eq!(
        draft.parts[0].record,
        json!({
            "user": { "sourcedId": "x", "type": "user" }, "roleType": "primary", "role": "student",
            "beginDate": "2026-04-01", "org": { "sourcedId": "s", "type": "org" }, "userProfile": "p"
        })
    );
    assert_eq!(draft.parts[1].sourced_id.as_deref(), Some("p"));
    assert_eq!(
        draft.parts[1].record,
        json!({
            "user": { "sourcedId": "x", "type": "user" }, "profileType": "t", "vendorId": "v",
            "credentialType": "password", "username": "hanako"
        })
    );
    let named: Vec<_> = draft.references.iter().map(|r| r.field.as_str()).collect();
    assert_eq!(named, ["roles[0].org.sourcedId"]);
}

#[test]
fn faults_of_roles_and_profiles_have_their_place() {
    let user = json!({
        "enabledUser": "true", "givenName": "花子", "familyName": "佐藤",
        "roles": [
            { "roleType": "first", "org": { "sourcedId": "s", "type": "class" }, "user": {}, "metadata": {} },
            "student",
            { "roleType": "primary", "role": "student", "org": { "sourcedId": "s" }, "beginDate": "2026-04-02",
              "endDate": "2026-04-01" }
        ],
        "userProfiles": [
            { "profileType": "t", "vendorId": "v", "credentials": [] },
            { "profileId": "a b", "profileType": "t", "vendorId": "v", "username": "u",
              "credentials": [{ "type": "a", "username": "b", "extra": 1 }] },
            { "profileId": "q", "profileType": "t", "vendorId": "v", "credentials": [{}, {}] },
            { "profileId": "r", "profileType": "t", "vendorId": "v", "credentials": {} }
        ]
    });
    assert_eq!(
        faults(EntityType::User, user),
        [
            fault("roles[0].user", Code::UnknownMember, ""),
            fault("roles[0].org.type", Code::ReferenceType, "class"),
            fault("roles[0].metadata", Code::UnknownMember, ""),
            fault("roles[0].roleType", Code::BadEnum, "first"),
            fault("roles[0].role", Code::MissingRequired, ""),
            fault("roles[1]", Code::WrongType, ""),
            fault("roles[2].endDate", Code::DatesReversed, "2026-04-01"),
            fault("userProfiles[0].profileId", Code::MissingRequired, ""),
            fault("userProfiles[0].credentials[0].type", Code::MissingRequired, ""),
            fault("userProfiles[0].credentials[0].username", Code::MissingRequired, ""),
            fault("userProfiles[1].username", Code::UnknownMember, ""),
            fault("userProfiles[1].credentials[0].extra", Code::UnknownMember, ""),
            fault("userProfiles[1].profileId", Code::BadSourcedId, "a b"),
            fault("userProfiles[2].credentials", Code::OneCredential, ""),
            fault("userProfiles[3].credentials", Code::WrongType, ""),
        ]
    );
}

#[test]
fn what_is_too_much_is_told_once() {
    let roles = json!({ "enabledUser": "true", "givenName": "a", "familyName": "b", "roles": vec![json!({}); 201] });
    assert_eq!(faults(EntityType::User, roles), [fault("roles", Code::TooMany, "201")]);
    let members: serde_json::Map<String, Value> = (0..2_000).map(|n| (format!("m{n}"), 1.into())).collect();
    assert_eq!(faults(EntityType::Org, members.into()).len(), 1_000);
}

#[test]
fn older_spellings_of_extensions_are_understood() {
    let enrollment = |metadata: Value| {
        json!({
            "class": { "sourcedId": "c" }, "school": { "sourcedId": "s" }, "user": { "sourcedId": "u" },
            "role": "student", "metadata": metadata
        })
    };
    let read = draft(EntityType::Enrollment, enrollment(json!({ "jp.ShussekiNo": 5 })));
    assert_eq!(read.record["metadata"], json!({ "jp.shussekiNo": "5" }));
    assert_eq!(read.record["primary"], "false", "required in JSON");
    let both = json!({ "jp.ShussekiNo": "5", "jp.shussekiNo": "6" });
    assert_eq!(
        faults(EntityType::Enrollment, enrollment(both)),
        [fault("metadata.jp.shussekiNo", Code::DuplicateMember, "")]
    );
}
