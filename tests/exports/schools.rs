//! Sets for some schools: whole in themselves, and nothing of others.

use std::collections::BTreeSet;

use super::{As, another, assert_alike, export, get, import};
use crate::support::{Server, bulk, city};

#[tokio::test]
async fn a_school_s_set_can_be_handed_in() {
    let mut server = Server::start().await;
    import(&server, bulk(&city())).await;
    let all = export(&server, "").await;
    let orgs = all.records("orgs");
    let schools: Vec<&String> = orgs.iter().filter(|(_, org)| org["type"] == "school").map(|(id, _)| id).collect();
    let board = orgs.iter().find(|(_, org)| org["type"] == "district").unwrap().0;
    let set = export(&server, &format!("schools={}", schools[0])).await;
    assert_eq!(set.ids("orgs"), BTreeSet::from([board.clone(), schools[0].clone()]));
    for (stem, column) in
        [("classes", "schoolSourcedId"), ("enrollments", "schoolSourcedId"), ("roles", "orgSourcedId")]
    {
        let of_school: BTreeSet<String> =
            all.records(stem).into_iter().filter(|(_, r)| r[column] == *schools[0]).map(|(id, _)| id).collect();
        assert!(of_school.is_subset(&set.ids(stem)) && !of_school.is_empty(), "{stem}");
        if stem != "roles" {
            assert_eq!(of_school, set.ids(stem), "{stem}");
        }
    }
    let users = set.ids("users");
    assert!(users.len() < all.ids("users").len());
    for (stem, column) in [("demographics", "sourcedId"), ("userProfiles", "userSourcedId"), ("roles", "userSourcedId")]
    {
        let of_users: BTreeSet<String> =
            all.records(stem).into_iter().filter(|(_, r)| users.contains(&r[column])).map(|(id, _)| id).collect();
        assert_eq!(of_users, set.ids(stem), "{stem}");
    }
    // A record is told alike in both.
    for stem in ["users", "classes", "orgs", "academicSessions", "courses"] {
        let whole = all.records(stem);
        assert!(set.records(stem).iter().all(|(id, record)| whole[id] == *record), "{stem}");
    }
    let other = another(&server, "aoba");
    let token = server.token.clone();
    {
        let other = As::new(&mut server, &other);
        import(&other, set.zip.clone()).await;
        assert_alike(&export(&other, "").await, &set, "handed in");
    }
    assert_eq!(server.token, token);
    // The board above is all there is; who has a role there alone belongs to none of its schools.
    let above = export(&server, &format!("schools={board}")).await;
    assert_alike(&above, &all, "the board");
    let both = export(&server, &format!("schools={},{}", schools[0], schools[1])).await;
    assert!(["orgs", "classes", "enrollments", "courses"].iter().all(|stem| both.ids(stem) == all.ids(stem)));
    let of_board =
        |id: &String| all.records("roles").values().any(|r| r["userSourcedId"] == *id && r["orgSourcedId"] == *board);
    let left: BTreeSet<String> = all.ids("users").difference(&both.ids("users")).cloned().collect();
    assert!(left.iter().all(of_board) && !left.is_empty());
    assert_eq!(get(&server, &format!("oneroster.zip?schools={},nobody", schools[0])).await.status(), 400);
}
