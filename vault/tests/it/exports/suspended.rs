//! Who is suspended neither asks, nor approves, nor runs; and nobody runs what he agreed to.

use super::ground::{ON, agreed, assert_refused, run, start, wanted};
use crate::suspension::{LIFT, SUSPEND, change};

#[tokio::test]
async fn an_export_needs_both_of_its_people_unsuspended() {
    let vault = start(ON).await;
    let id = agreed(&vault, &wanted(&age::x25519::Identity::generate())).await;
    assert_eq!(change(&vault, "security", SUSPEND, "exporter-two").await.status(), 200);
    let refused = run(&vault, "exporter-one", &id).await;
    assert_refused(&vault, &refused, 403, "export-refused", "no-longer-theirs").await;
    let refused = run(&vault, "exporter-two", &id).await;
    assert_refused(&vault, &refused, 403, "workload-suspended", "workload-suspended").await;
    assert_eq!(change(&vault, "security", LIFT, "exporter-two").await.status(), 200);
    assert_eq!(run(&vault, "exporter-one", &id).await.status(), 200);
}
