//! The log, asked for marked cards by every parameter: what is refused echoes nothing, and what is found holds no needle.

use serde_json::json;

use super::ground::{Ground, Request};

pub(super) async fn questions_by_every_door(ground: &mut Ground) {
    let number = ground.mark("asked for");
    let token = ground.token(&json!({ "number": number, "exp_month": 5, "exp_year": 2033 })).await;
    let (entries, of_tenant) = ("/v1/audit/entries", "/v1/tenants/acme/audit/entries");
    let reach = "/v1/audit/blast-radius";
    let proxy = format!("{reach}?workload=spiffe%3A%2F%2Fstrongroom.test%2Fproxy");
    for (operation, who, path) in [
        ("findAuditEntries", "security", format!("{entries}?token={token}")),
        ("findTenantAuditEntries", "auditor", format!("{of_tenant}?token={token}")),
        ("listBlastRadius", "security", proxy.clone()),
    ] {
        let answer = ground.vault(operation, who, Request::bare("GET", &path)).await;
        assert_eq!(answer.status(), 200, "{path}: {}", answer.json());
    }
    for (operation, who, path) in [
        ("findAuditEntries", "security", entries),
        ("findTenantAuditEntries", "auditor", of_tenant),
        ("listBlastRadius", "security", reach),
    ] {
        for refused in [
            format!("{path}?workload={number}"),
            format!("{path}?cursor={number}"),
            format!("{path}?{number}=1"),
            format!("{path}?from={number}"),
            format!("{path}?token={number}"),
        ] {
            let answer = ground.vault(operation, who, Request::bare("GET", &refused)).await;
            assert_eq!(answer.status(), 400, "{refused}");
        }
        let answer = ground.vault(operation, "orchestrator", Request::bare("GET", path)).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
}
