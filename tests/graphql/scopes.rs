//! Who sees what.

use serde_json::{Value, json};

use super::{city_server, code};
use crate::support::{Server, run, token};

/// Answers an operation for another token.
async fn ask(server: &Server, token: &str, query: &str) -> Value {
    let body = json!({ "query": query });
    let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(token).json(&body);
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_may_not_see_is_refused_where_it_stands() {
    let (server, all) = city_server().await;
    let core = token(&server.url, "midori", "roster-core.readonly");
    let roster = token(&server.url, "midori", "roster.readonly");
    let demographics = token(&server.url, "midori", "roster-demographics.readonly");
    let import = token(&server.url, "midori", "import");
    let user = super::id(&all["users"][0]);

    let nested = format!(
        "{{ user(sourcedId: \"{user}\") {{ familyName primaryOrg {{ name }} classes {{ nodes {{ id }} }} demographics {{ birthDate }} }} }}"
    );
    let answer = ask(&server, &core, &nested).await;
    assert_eq!(answer["data"]["user"]["familyName"], all["users"][0]["familyName"]);
    assert!(answer["data"]["user"]["primaryOrg"]["name"].is_string());
    let paths: Vec<&Value> = answer["errors"].as_array().unwrap().iter().map(|error| &error["path"]).collect();
    assert_eq!(paths, [&json!(["user", "classes"]), &json!(["user", "demographics"])]);
    assert!(answer["errors"].as_array().unwrap().iter().all(|error| error["extensions"]["code"] == "FORBIDDEN"));
    assert_eq!(
        (&answer["data"]["user"]["classes"], &answer["data"]["user"]["demographics"]),
        (&Value::Null, &Value::Null)
    );

    let answer = ask(&server, &roster, &nested).await;
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
    assert_eq!(answer["errors"][0]["path"], json!(["user", "demographics"]));

    let answer = ask(
        &server,
        &demographics,
        "{ allDemographics(first: 1) { nodes { birthDate user { familyName } } } users { nodes { id } } }",
    )
    .await;
    assert!(answer["data"]["allDemographics"]["nodes"][0]["birthDate"].is_string());
    assert_eq!(code(&answer), "FORBIDDEN");
    assert!(
        !answer.to_string().contains("familyName\":\""),
        "demographics lead to no user without the roster's scope: {answer}"
    );

    for query in [
        "{ users { nodes { id } } }",
        "{ allDemographics { nodes { id } } }",
        &format!("{{ user(sourcedId: \"{user}\") {{ id }} }}"),
    ] {
        assert_eq!(code(&ask(&server, &import, query).await), "FORBIDDEN");
    }
    let hidden = ask(&server, &roster, "{ allDemographics { totalCount nodes { id } } }").await;
    assert_eq!((code(&hidden), &hidden["data"]["allDemographics"]), ("FORBIDDEN", &Value::Null));
    let by_node = format!("{{ user(sourcedId: \"{user}\") {{ id }} }}");
    assert!(ask(&server, &roster, &by_node).await["data"]["user"]["id"].is_string());
    let person = super::id(&all["demographics"][0]);
    let shown = server.query(&format!("{{ demographics(sourcedId: \"{person}\") {{ id }} }}")).await;
    let node = shown["demographics"]["id"].as_str().unwrap();
    assert_eq!(
        code(
            &ask(&server, &roster, &format!("{{ node(id: \"{node}\") {{ ... on Demographics {{ birthDate }} }} }}"))
                .await
        ),
        "FORBIDDEN"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_nothing_of_another() {
    let (server, all) = city_server().await;
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", "roster.readonly,roster-demographics.readonly");
    let class = &all["classes"][0];
    let node = server.query(&format!("{{ class(sourcedId: \"{}\") {{ id }} }}", super::id(class))).await;
    let node = node["class"]["id"].as_str().unwrap();
    let query = format!(
        "{{ node(id: \"{node}\") {{ id }} class(sourcedId: \"{}\") {{ id }} users {{ totalCount nodes {{ id }} }} orgs {{ totalCount }} }}",
        super::id(class)
    );
    let answer = ask(&server, &other, &query).await;
    assert_eq!(
        answer["data"],
        json!({ "node": null, "class": null, "users": { "totalCount": 0, "nodes": [] }, "orgs": { "totalCount": 0 } })
    );
    assert_eq!(answer["extensions"]["position"], 0);
    assert_eq!(ask(&server, "nonsense", "{ users { nodes { id } } }").await.get("data"), None);
}
