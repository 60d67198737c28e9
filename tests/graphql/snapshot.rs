//! One operation, one position.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{city_server, code};
use crate::support::{Server, patch};

/// Changes the titles of a class and of its course in one unit of work.
async fn rename(server: &Server, class: &str, course: &str, title: &str) -> i64 {
    let operations = json!({ "operations": [
        { "op": "patch", "collection": "classes", "sourcedId": class, "document": { "title": title } },
        { "op": "patch", "collection": "courses", "sourcedId": course, "document": { "title": title } },
    ] });
    let url = format!("{}/rosterhub/v1/batch", server.base);
    let response = server.http.post(url).bearer_auth(&server.token).json(&operations).send().await.unwrap();
    let position = response.headers().get("rosterhub-position").cloned();
    let body: Value = response.json().await.unwrap();
    position.unwrap_or_else(|| panic!("{body}")).to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_reads_one_position_while_others_write() {
    let (server, all) = city_server().await;
    let server = Arc::new(server);
    let class = &all["classes"][0];
    let (class, course) = (super::id(class).to_owned(), class["course"]["sourcedId"].as_str().unwrap().to_owned());
    rename(&server, &class, &course, "0").await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (server, stop, class, course) = (server.clone(), stop.clone(), class.clone(), course.clone());
        async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                rename(&server, &class, &course, &n.to_string()).await;
            }
            n
        }
    });
    let query = format!(
        "{{ class(sourcedId: \"{class}\") {{ title course {{ title classes {{ nodes {{ sourcedId title }} }} }} }}
            course(sourcedId: \"{course}\") {{ title }}
            history(recordType: class, sourcedId: \"{class}\", first: 1000) {{ nodes {{ position after }} }}
            changes(sourcedId: \"{course}\", first: 1000) {{ nodes {{ position after }} }}
            diff(from: 1, to: 2, class: \"{class}\") {{ nodes {{ sourcedId }} }} }}"
    );
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 20 {
        let answer = server.graphql(&query, json!({})).await;
        let data = &answer["data"];
        let title = data["class"]["title"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(data["class"]["course"]["title"], title);
        assert_eq!(data["course"]["title"], title);
        let nodes = data["class"]["course"]["classes"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.iter().find(|n| n["sourcedId"] == class).unwrap()["title"], title);
        // What is read from the log ends where the roster stands.
        for log in ["history", "changes"] {
            let last = data[log]["nodes"].as_array().unwrap().last().unwrap();
            assert_eq!(last["after"]["title"], title, "{log}");
            assert!(last["position"].as_i64() <= answer["extensions"]["position"].as_i64(), "{log}");
        }
        // The same again, at the position that the answer named.
        let at = answer["extensions"]["position"].as_i64().unwrap();
        let past = query.replacen("\")", &format!("\", asOf: {at})"), 1);
        let again = server.graphql(&past, json!({})).await;
        assert_eq!((&again["data"], &again["extensions"]["position"]), (data, &at.into()));
        seen.insert(title.to_owned());
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() >= 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_read_by_position_or_time() {
    let (server, all) = city_server().await;
    let class = super::id(&all["classes"][0]);
    let before = server.graphql("{ classes(first: 1) { nodes { title } } }", json!({})).await;
    let position = before["extensions"]["position"].as_i64().unwrap();
    let stood = all["classes"][0]["dateLastModified"].as_str().unwrap();
    patch(&server, &format!("classes/{class}"), json!({ "title": "new" })).await;
    let title = |at: String| {
        format!(
            "{{ class(sourcedId: \"{class}\", asOf: {at}) {{ title school {{ classes(first: 1000) {{ totalCount nodes {{ title }} }} }} }} }}"
        )
    };
    for at in [position.to_string(), format!("\"{position}\""), format!("\"{stood}\"")] {
        let answer = server.graphql(&title(at.clone()), json!({})).await;
        assert_eq!(answer["data"]["class"]["title"], all["classes"][0]["title"], "{at}: {answer}");
        assert_eq!(answer["extensions"]["position"], position);
        let nodes = answer["data"]["class"]["school"]["classes"]["nodes"].as_array().unwrap();
        assert!(nodes.iter().all(|node| node["title"] != "new"));
    }
    let now = server.query(&title((position + 1).to_string())).await;
    assert_eq!(now["class"]["title"], "new");
    let nothing = server.graphql(&title("0".into()), json!({})).await;
    assert_eq!((&nothing["data"]["class"], &nothing["extensions"]["position"]), (&Value::Null, &0.into()));
    for bad in ["-1", "\"x\"", "99999999", "\"2999-01-01\"", "1.5", "{ a: 1 }"] {
        let answer = server.graphql(&title(bad.into()), json!({})).await;
        assert!(["BAD_USER_INPUT", "VALIDATION_FAILED"].contains(&code(&answer)), "{bad}: {answer}");
    }
    let differ =
        server.graphql("{ a: classes(asOf: 1) { nodes { id } } b: orgs(asOf: 2) { nodes { id } } }", json!({})).await;
    assert_eq!(code(&differ), "BAD_USER_INPUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_can_wait_for_a_write() {
    let (server, all) = city_server().await;
    let other = Server::on(&server.url);
    let class = super::id(&all["classes"][0]).to_owned();
    for n in 0..20 {
        let title = format!("t{n}");
        let position = {
            let url = format!("{}/rosterhub/v1/roster/classes/{class}", server.base);
            let body = json!({ "title": title });
            let response = server.http.patch(url).bearer_auth(&server.token).json(&body).send().await.unwrap();
            response.headers()["rosterhub-position"].to_str().unwrap().to_owned()
        };
        let read = other.query(&format!("{{ class(sourcedId: \"{class}\", atLeast: {position}) {{ title }} }}")).await;
        assert_eq!(read["class"]["title"], title);
    }
}
