//! Random histories: what is exported as a delta makes the one bulk set of the other, whatever has happened.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::{As, Set, another, assert_alike, export, import};
use crate::support::{Server, assert_verified, put, set};

/// Numbers that depend on the seed alone.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize].clone()
    }
}

fn reference(kind: &str, id: &str) -> Value {
    json!({ "sourcedId": id, "type": kind })
}

const SCHOOLS: [&str; 3] = ["s1", "s2", "s3"];
const USERS: [&str; 6] = ["u1", "u2", "u3", "u4", "u5", "u6"];
const CLASSES: [&str; 4] = ["k1", "k2", "k3", "k4"];
const COURSES: [&str; 3] = ["c1", "c2", "c3"];

/// A record as it might be: collection, id, document.
fn document(dice: &mut Dice) -> (&'static str, String, Value) {
    let title = |dice: &mut Dice| dice.one_of(&["国語", "a,b", "x \"y\"", "算数"]).to_owned();
    match dice.roll(8) {
        0 => {
            let id = dice.one_of(&["y", "t1", "t2"]);
            let kind = if id == "y" { "schoolYear" } else { "term" };
            let mut session = json!({ "title": title(dice), "type": kind, "startDate": "2026-04-01", "endDate": "2027-03-31", "schoolYear": "2026" });
            if id != "y" && dice.roll(2) == 0 {
                session["parent"] = reference("academicSession", "y");
            }
            ("academicSessions", id.to_owned(), session)
        }
        1 => {
            let id = dice.one_of(&["d", "s1", "s2", "s3"]);
            let mut org =
                json!({ "name": title(dice), "type": if id == "d" { "district" } else { "school" }, "identifier": "" });
            if id != "d" && dice.roll(2) == 0 {
                org["parent"] = reference("org", "d");
            }
            ("orgs", id.to_owned(), org)
        }
        2 => {
            let mut course = json!({ "title": title(dice), "courseCode": "", "org": reference("org", dice.one_of(&["d", "s1", "s2"])) });
            if dice.roll(2) == 0 {
                course["schoolYear"] = reference("academicSession", "y");
            }
            ("courses", dice.one_of(&COURSES).to_owned(), course)
        }
        3 => {
            let mut terms = vec![reference("academicSession", dice.one_of(&["y", "t1"]))];
            if dice.roll(2) == 0 {
                terms.push(reference("academicSession", "t2"));
            }
            let class = json!({
                "title": title(dice), "classType": "homeroom", "course": reference("course", dice.one_of(&COURSES)),
                "school": reference("org", dice.one_of(&SCHOOLS)), "terms": terms, "grades": ["P1", "P2"],
            });
            ("classes", dice.one_of(&CLASSES).to_owned(), class)
        }
        4 | 5 => {
            let id = dice.one_of(&USERS);
            let mut roles = vec![
                json!({ "roleType": "primary", "role": "student", "org": reference("org", dice.one_of(&SCHOOLS)) }),
            ];
            if dice.roll(3) == 0 {
                roles.push(json!({ "roleType": "secondary", "role": "teacher", "org": reference("org", "s3") }));
            }
            let mut user = json!({ "enabledUser": "true", "username": id, "givenName": title(dice), "familyName": "佐藤", "roles": roles });
            if dice.roll(2) == 0 {
                user["primaryOrg"] = user["roles"][0]["org"].clone();
            }
            if dice.roll(2) == 0 {
                user["agents"] = json!([reference("user", dice.one_of(&USERS)), reference("user", "u6")]);
            }
            if dice.roll(2) == 0 {
                user["metadata"] = json!({ "jp.homeClass": dice.one_of(&CLASSES), "note": title(dice) });
            }
            if dice.roll(2) == 0 {
                user["userProfiles"] = json!([{
                    "profileId": format!("p-{id}"), "profileType": "LMS", "vendorId": title(dice),
                    "credentials": [{ "type": "password", "username": id }],
                }]);
                user["roles"][0]["userProfile"] = format!("p-{id}").into();
            }
            ("users", id.to_owned(), user)
        }
        6 => (
            "demographics",
            dice.one_of(&USERS).to_owned(),
            json!({ "birthDate": dice.one_of(&["2019-05-05", "2018-01-01"]) }),
        ),
        _ => {
            let enrollment = json!({
                "class": reference("class", dice.one_of(&CLASSES)), "school": reference("org", dice.one_of(&SCHOOLS)),
                "user": reference("user", dice.one_of(&USERS)), "role": "student", "primary": "false",
            });
            ("enrollments", format!("e{}", dice.roll(8)), enrollment)
        }
    }
}

/// A change, or an attempt at one: what the rules refuse changes nothing.
pub async fn step(server: &Server, dice: &mut Dice) {
    if dice.roll(12) == 0 {
        // Orgs by a set: these are withdrawn or come back without what names them.
        let status = dice.one_of(&["active", "tobedeleted"]);
        let at = "2026-04-01T00:00:00.000Z";
        let text = format!(
            "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n{},{status},{at},組,school,,\r\n",
            dice.one_of(&SCHOOLS)
        );
        server.import(set(&[("orgs", "delta", &text)])).await;
        return;
    }
    if dice.roll(20) == 0 {
        // What a set can hold, handed in again: what it cannot hold is withdrawn.
        let set = export(server, "").await;
        server.import(set.zip).await;
        return;
    }
    let (collection, id, document) = document(dice);
    let url = format!("{}/rosterhub/v1/roster/{collection}/{id}", server.base);
    let method = if dice.roll(4) == 0 { Method::DELETE } else { Method::PUT };
    let request = server.http.request(method.clone(), url).bearer_auth(&server.token);
    let request = if method == Method::PUT { request.json(&document) } else { request };
    let answer = request.send().await.unwrap();
    assert!(!answer.status().is_server_error(), "{collection}/{id}: {:?}", answer.text().await);
}

/// Every record of a set, by file, id and column.
type Told = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

/// Without columns that hold nothing: a file has those of `metadata` that some row needs.
fn told(set: &Set) -> Told {
    let files = set.files.keys().filter(|stem| *stem != "manifest");
    let filled = |record: BTreeMap<String, String>| record.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    files.map(|stem| (stem.clone(), set.records(stem).into_iter().map(|(id, r)| (id, filled(r))).collect())).collect()
}

/// A bulk set with a delta laid over it, row by row.
fn laid_over(bulk: &Set, delta: &Set) -> Told {
    let mut all = told(bulk);
    for (stem, records) in told(delta) {
        let file = all.entry(stem).or_default();
        for (id, mut record) in records {
            record.remove("dateLastModified");
            match record.remove("status").as_deref() {
                Some("active") => drop(file.insert(id, record)),
                Some("tobedeleted") => drop(file.remove(&id)),
                other => panic!("{id}: {other:?}"),
            }
        }
    }
    all.retain(|_, file| !file.is_empty());
    all
}

async fn history(seed: u64, steps: usize, query: &str) {
    let mut dice = Dice(seed);
    let mut server = Server::start().await;
    let mut sets: Vec<Set> = Vec::new();
    // A school has to be there before it can be asked for.
    put(&server, "orgs/s1", json!({ "name": "組", "type": "school", "identifier": "" })).await;
    for n in 0..steps {
        step(&server, &mut dice).await;
        if n % (steps / 6) == steps / 6 - 1 {
            sets.push(export(&server, query).await);
        }
    }
    assert_verified(&server.url);
    for (n, from) in sets.iter().enumerate() {
        // As of then is what was exported then.
        assert_eq!(export(&server, &format!("asOf={}&{query}", from.position())).await.zip, from.zip);
        for to in &sets[n..] {
            let delta = export(&server, &format!("since={}&asOf={}&{query}", from.position(), to.position())).await;
            let why = format!("seed {seed}, {} to {}", from.position(), to.position());
            assert_eq!(laid_over(from, &delta), told(to), "{why}");
        }
    }
    // Through imports, each delta after the other.
    let deltas = {
        let mut deltas = Vec::new();
        for pair in sets.windows(2) {
            let query = format!("since={}&asOf={}&{query}", pair[0].position(), pair[1].position());
            deltas.push(export(&server, &query).await);
        }
        deltas
    };
    let other = another(&server, "aoba");
    let other = As::new(&mut server, &other);
    let first = &sets[0];
    import(&other, first.zip.clone()).await;
    assert_alike(&export(&other, "").await, first, &format!("seed {seed}"));
    for (delta, to) in deltas.iter().zip(&sets[1..]) {
        import(&other, delta.zip.clone()).await;
        assert_alike(&export(&other, "").await, to, &format!("seed {seed} at {}", to.position()));
    }
}

#[tokio::test]
async fn a_delta_makes_one_state_of_another() {
    for seed in 1..=4 {
        history(seed, 150, "").await;
    }
}

#[tokio::test]
async fn a_delta_of_schools_makes_one_state_of_another() {
    for seed in 11..=13 {
        history(seed, 150, "schools=s1").await;
    }
}
