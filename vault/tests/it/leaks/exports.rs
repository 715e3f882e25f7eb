//! Exports: asked for, approved, run and refused in every way. What leaves is in the answers, and no needle is.

use serde_json::json;

use super::ground::{Ground, Request};

pub(super) async fn exports_by_every_door(ground: &mut Ground) {
    const EXPORTS: &str = "/v1/tenants/moving/exports";
    let put = Request::json("PUT", "/v1/tenants/moving", &json!({ "groups": ["merchants"] }));
    assert_eq!(ground.vault("putTenant", "platform", put).await.status(), 201);
    let card = json!({ "number": ground.mark("exported"), "holder": "JANE Q CARDHOLDER" });
    let created = Request::json("POST", "/v1/tenants/moving/cards", &card);
    assert_eq!(ground.vault("createCard", "checkout", created).await.status(), 201);

    let recipient = age::x25519::Identity::generate().to_public().to_string();
    let wanted = json!({ "recipient": recipient, "cards_max": 10, "purpose": "moving house" });
    let mark = ground.mark("export");
    for (name, value) in
        [("recipient", json!(mark)), ("purpose", json!(mark)), ("not_after", json!(mark)), (&mark, json!(1))]
    {
        let mut body = wanted.clone();
        body[name] = value;
        let answer =
            ground.vault("requestExport", "exporter-one", Request::json("POST", EXPORTS, &body)).await;
        assert_eq!(answer.status(), 400, "{}", answer.json());
    }
    let asked = ground.vault("requestExport", "exporter-one", Request::json("POST", EXPORTS, &wanted)).await;
    assert_eq!(asked.status(), 201, "{}", asked.json());
    let export = format!("{EXPORTS}/{}", asked.json()["id"].as_str().unwrap());
    let (approval, runs) = (format!("{export}/approval"), format!("{export}/runs"));
    let said = json!({ "sha256": asked.json()["sha256"] });
    for (who, body) in [
        ("exporter-one", said.clone()),
        ("exporter-two", json!({ "sha256": mark })),
        ("exporter-two", json!({ "sha256": "00".repeat(32) })),
        ("orchestrator", said.clone()),
    ] {
        let answer = ground.vault("approveExport", who, Request::json("PUT", &approval, &body)).await;
        assert!((400..500).contains(&answer.status()), "{who}");
    }
    for who in ["exporter-one", "orchestrator", "proxy"] {
        let answer = ground.vault("runExport", who, Request::bare("POST", &runs)).await;
        assert!((400..500).contains(&answer.status()), "{who}");
    }
    let approved =
        ground.vault("approveExport", "exporter-two", Request::json("PUT", &approval, &said)).await;
    assert_eq!(approved.status(), 200, "{}", approved.json());
    let file = ground.vault("runExport", "exporter-two", Request::bare("POST", &runs)).await;
    assert!(file.status() == 200 && file.body().starts_with(b"age-encryption.org/v1"));
    for (operation, path) in [("showExport", export.as_str()), ("listExports", EXPORTS)] {
        assert_eq!(ground.vault(operation, "exporter-one", Request::bare("GET", path)).await.status(), 200);
        for who in ["checkout", "security", "proxy"] {
            assert_eq!(ground.vault(operation, who, Request::bare("GET", path)).await.status(), 403, "{who}");
        }
    }
}
