//! What the store has of reviews and bundles is shown only if the log names it.

use serde_json::json;
use sqlx::Connection as _;
use strongroom_domain::Clock;
use strongroom_perimeter::clock::SystemClock;
use strongroom_vault::evidence::verify;

use super::ground::{DAY, bundle, json as read_json, key, read};
use crate::reviews::review;
use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_filed_and_is_not_what_the_log_names_is_red() {
    let vault = Service::start().await;
    let from = SystemClock.now().minus(DAY);
    review(&vault, "reviewer", "access", "approved", "").await;
    review(&vault, "reviewer", "log", "approved", "").await;
    let now = || async { bundle(&vault, from, SystemClock.now(), 1).await };
    let first = now().await;
    let facts = read_json(first.path(), "evidence.json");
    assert_eq!(facts["access"]["difference"]["state"], "first-bundle");
    assert_eq!(facts["reviews"][0]["filed"][0]["wrong"], json!(null));
    let second = now().await;
    let difference = read_json(second.path(), "evidence.json")["access"]["difference"].clone();
    assert_eq!((&difference["state"], &difference["added"]), (&json!("compared"), &json!([])));
    assert_eq!(difference["same"], facts["access"]["grants"].as_array().unwrap().len());

    let url = format!("sqlite://{}", vault.folder.path().join("vault.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for (change, kind, wrong) in [
        (
            "UPDATE reviews SET record = replace(record, 'approved', 'follow-up') WHERE kind = 'log'",
            1,
            "not the one the log names",
        ),
        ("UPDATE reviews SET signature = zeroblob(70) WHERE kind = 'access'", 0, "signature does not hold"),
        (
            "UPDATE reviews SET certificate = zeroblob(70) WHERE kind = 'access'",
            0,
            "certificate in the store",
        ),
        ("DELETE FROM reviews WHERE kind = 'access'", 0, "no record"),
    ] {
        assert_eq!(sqlx::query(change).execute(&mut database).await.unwrap().rows_affected(), 1, "{change}");
        let folder = now().await;
        let filed = read_json(folder.path(), "evidence.json")["reviews"][kind]["filed"][0].clone();
        assert!(filed["wrong"].as_str().is_some_and(|told| told.contains(wrong)), "{change}: {filed}");
        assert_eq!(filed["remarks"], "", "nothing of it is shown");
        let page = read(folder.path(), ["requirement-7.html", "requirement-10.html"][kind]);
        assert!(page.contains("without a record that holds — must be 0."), "{change}");
        // The bundle says so and holds itself: what does not hold is no file of it.
        let found = verify(folder.path(), &key(&vault).await).unwrap();
        assert_eq!(found.reviews, u64::from(kind == 1), "{change}");
    }
    for (change, state) in [
        ("UPDATE evidence_bundles SET access = replace(access, 'ManageTenant', 'ReadEvidence')", "altered"),
        ("UPDATE evidence_bundles SET manifest = replace(manifest, 'access.json', 'access.jsom')", "altered"),
        ("DELETE FROM evidence_bundles", "not-kept"),
    ] {
        assert!(sqlx::query(change).execute(&mut database).await.unwrap().rows_affected() > 0, "{change}");
        let folder = now().await;
        let difference = read_json(folder.path(), "evidence.json")["access"]["difference"].clone();
        assert_eq!(difference["state"], state, "{change}");
        assert!(read(folder.path(), "requirement-7.html").contains("class=\"bad\""), "{change}");
    }
    database.close().await.unwrap();
}
