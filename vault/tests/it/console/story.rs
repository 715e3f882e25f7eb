//! One forward explained: what the log proves, what the proxy told, and what somebody changed.

use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::{forwarded, furnished, open, text, told};
use crate::find::indexed;
use crate::service::Service;

/// What somebody with full rights to the database changes.
pub(super) async fn change(vault: &Service, sql: &'static str) {
    let file = vault.folder.path().join("vault.db");
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_is_explained_from_the_request_to_the_answer() {
    let (vault, token, id) = furnished().await;
    let path = format!("/console/tenants/acme/forwards/{id}");
    let page = text(&open(&vault, "security", &path).await);
    for said in [
        "spiffe://strongroom.test/orchestrator",
        "spiffe://strongroom.test/proxy",
        "proxy-forwards-for-orchestrators",
        "api.psp.example",
        "POST /v1/charges",
        "answered",
        "402",
        "212.0 ms",
        "req_&lt;b&gt;1&lt;/b&gt;",
        "pan.forward",
        "forward.outcome",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("<b>1") && !page.contains(&token), "{page}");
    assert!(!page.contains("does not say what the log says"), "{page}");
    // Of one that is under way.
    let open_one = forwarded(&vault, &token).await;
    indexed(&vault).await;
    let page = text(&open(&vault, "security", &format!("/console/tenants/acme/forwards/{open_one}")).await);
    assert!(page.contains("Not yet: the proxy tells"), "{page}");
    told(&vault, &open_one, &json!({ "outcome": "unknown" })).await;
    let page = text(&open(&vault, "security", &format!("/console/tenants/acme/forwards/{open_one}")).await);
    assert!(page.contains("unknown"), "{page}");
    assert_eq!(
        open(&vault, "security", &format!("/console/tenants/globex/forwards/{id}")).await.status(),
        404
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_says_otherwise_than_the_log_is_told_and_its_text_is_text() {
    let (vault, _, id) = furnished().await;
    let path = format!("/console/tenants/acme/forwards/{id}");
    change(&vault, "UPDATE forwards SET host = '<script>alert(1)</script>', path = '/\"><img src=x>'").await;
    let page = text(&open(&vault, "security", &path).await);
    assert!(page.contains("does not say what the log says") && page.contains(": host."), "{page}");
    assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
    change(&vault, "UPDATE audit_entries SET leaf = CAST(replace(CAST(leaf AS text), 'api.psp.example', 'api.xxx.example') AS blob)").await;
    let page = text(&open(&vault, "security", &path).await);
    assert!(
        page.contains("was changed or removed in the database") && page.contains("Not the entry of the tree"),
        "{page}"
    );
    assert!(!page.contains("api.xxx.example"), "what is not the log's is not shown: {page}");
}
