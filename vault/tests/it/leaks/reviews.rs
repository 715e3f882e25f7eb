//! What people sign, and what is made for them: reviews, evidence with proofs, a successor of the log's key.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::Clock as _;
use strongroom_perimeter::clock::SystemClock;

use super::ground::{Ground, Request};
use crate::evidence::given::proofs_of;
use crate::reviews::{said, signed_by};

const REVIEWER: &str = "reviewer";

/// A number in the name of what is reviewed, in remarks, and in what is signed.
pub(super) async fn reviews_by_every_door(ground: &mut Ground) {
    let number = ground.mark("review");
    for path in [format!("/v1/reviews/{number}"), format!("/v1/reviews/access?{number}=1")] {
        for (operation, method) in [("showReview", "GET"), ("fileReview", "POST")] {
            let answer = ground.vault(operation, REVIEWER, Request::bare(method, &path)).await;
            assert!(matches!(answer.status(), 400 | 404 | 415), "{method} {path}: {}", answer.status());
        }
    }
    let path = "/v1/reviews/access";
    assert_eq!(ground.vault("showReview", "checkout", Request::bare("GET", path)).await.status(), 403);
    let shown = ground.vault("showReview", REVIEWER, Request::bare("GET", path)).await;
    assert_eq!(shown.status(), 200, "{}", shown.json());
    let shown = shown.json();
    let sign = |ground: &Ground, text: &str| signed_by(ground.house.pki(), REVIEWER, REVIEWER, text);
    let mut record: Value = serde_json::from_str(&said(&shown, "approved", "as agreed")).unwrap();
    record["remarks"] = json!(number);
    let with_number = sign(ground, &record.to_string());
    for body in [with_number, json!({ "record": number }), json!({ number.as_str(): 1 })] {
        let answer = ground.vault("fileReview", REVIEWER, Request::json("POST", path, &body)).await;
        assert_eq!(answer.status(), 400, "{}", answer.json());
    }
    let right = sign(ground, &said(&shown, "approved", "as agreed"));
    let filed = ground.vault("fileReview", REVIEWER, Request::json("POST", path, &right)).await;
    assert_eq!(filed.status(), 201, "{}", filed.json());
}

/// A number where nothing is to stand.
pub(super) async fn successors_by_every_door(ground: &mut Ground) {
    let number = ground.mark("successor");
    let path = "/v1/keys/audit-signing/successor";
    let asked = format!("{path}?{number}=1");
    let answer = ground.vault("succeedLogKey", "custodian", Request::bare("POST", &asked)).await;
    assert_eq!(answer.status(), 400);
    for who in ["checkout", "security"] {
        assert_eq!(ground.vault("succeedLogKey", who, Request::bare("POST", path)).await.status(), 403);
    }
    let made = ground.vault("succeedLogKey", "custodian", Request::bare("POST", path)).await;
    assert!(made.status() < 300, "{}", made.json());
}

/// A number in proofs, and in a period; proofs that are none.
pub(super) async fn evidence_with_proofs(ground: &mut Ground) {
    let number = ground.mark("proofs");
    let (from, to) = (SystemClock.now().minus(Duration::from_secs(24 * 3_600)), SystemClock.now());
    let path = format!("/v1/evidence?from={from}&to={to}&sample=1");
    let sound = serde_json::to_value(proofs_of(&ground.house.folder().policies())).unwrap();
    let mut wrong = sound.clone();
    wrong["solver"] = json!(number);
    for body in [wrong, json!({ "format": number }), json!({ number.as_str(): 1 })] {
        let request = Request::json("POST", &path, &body);
        let answer = ground.vault("makeEvidenceWithProofs", "security", request).await;
        assert_eq!(answer.status(), 400, "{}", answer.json());
    }
    for _ in 0..200 {
        let request = Request::json("POST", &path, &sound);
        let made = ground.vault("makeEvidenceWithProofs", "security", request).await;
        match made.status() {
            200 => return,
            429 | 503 => tokio::time::sleep(Duration::from_millis(50)).await, // not signed up to now yet
            status => panic!("{status}: {}", made.json()),
        }
    }
    panic!("no evidence was made");
}
