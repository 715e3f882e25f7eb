//! Receipts and the log's files: read, and every way to be refused them.

use std::time::Duration;

use serde_json::json;
use strongroom_sandbox::client::Exchange;

use super::ground::{Ground, Request};

pub(super) async fn receipts_by_every_door(ground: &mut Ground) {
    let number = ground.mark("receipted");
    let body = json!({ "number": number });
    let stored = Request::json("POST", "/v1/tenants/acme/cards", &body);
    let stored = ground.vault("createCard", "checkout", stored).await;
    let path = format!("/v1/audit/receipts/{}", stored.header("strongroom-receipt").unwrap());
    for wrong in [format!("/v1/audit/receipts/{number}"), format!("{path}?number={number}")] {
        let answer = ground.vault("readReceipt", "security", Request::bare("GET", &wrong)).await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    assert_eq!(ground.vault("readReceipt", "checkout", Request::bare("GET", &path)).await.status(), 404);
    let mut read = ground.vault("readReceipt", "security", Request::bare("GET", &path)).await;
    while read.status() == 202 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        read = ground.vault("readReceipt", "security", Request::bare("GET", &path)).await;
    }
    assert_eq!(read.status(), 200, "{}", read.json());
    let note = file_of_the_log(ground, "security", "checkpoint").await.body();
    let size: usize = String::from_utf8(note).unwrap().lines().nth(1).unwrap().parse().unwrap();
    let bundles = (0..size / 256).map(|number| format!("tile/entries/{number:03}"));
    let last = Some(size % 256).filter(|width| *width > 0);
    let last = last.map(|width| format!("tile/entries/{:03}.p/{width}", size / 256));
    for file in bundles.chain(last) {
        let answer = file_of_the_log(ground, "security", &file).await;
        assert_eq!(answer.status(), 200, "{file}");
    }
    for file in [number.as_str(), "tile/entries/000"] {
        let answer = file_of_the_log(ground, "checkout", file).await;
        assert!(matches!(answer.status(), 400 | 403), "{file}");
    }
}

async fn file_of_the_log(ground: &mut Ground, who: &str, file: &str) -> Exchange {
    let path = format!("/v1/audit/log/{file}");
    ground.vault("readLog", who, Request::bare("GET", &path)).await
}
