//! The operators' pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_perimeter::ops::{Ops, OpsConfig, Readiness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::telemetry::numbers;

async fn page(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn probes_say_what_is_wrong_and_metrics_are_shown() {
    let (works, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
    let switch = Arc::clone(&works);
    let readiness = Readiness::new()
        .check("store", move || {
            let works = switch.load(Ordering::SeqCst);
            async move { if works { Ok(()) } else { Err("the store does not answer") } }
        })
        .until(&stop);
    let ops = Ops::bind(&OpsConfig { address: "127.0.0.1:0".parse().unwrap() }).unwrap();
    let address = ops.local_addr().unwrap();
    let end = CancellationToken::new();
    let served = tokio::spawn(ops.serve(readiness, numbers(), end.clone()));

    assert!(page(address, "/livez").await.starts_with("HTTP/1.1 200"));
    let ready = page(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(r#""status":"ready""#), "{ready}");
    works.store(false, Ordering::SeqCst);
    let wrong = page(address, "/readyz").await;
    assert!(wrong.starts_with("HTTP/1.1 503"), "{wrong}");
    assert!(
        wrong.contains(r#""store":"the store does not answer""#) && wrong.contains(r#""drain":"ok""#),
        "{wrong}"
    );
    works.store(true, Ordering::SeqCst);
    stop.cancel();
    assert!(page(address, "/readyz").await.contains(r#""drain":"stopping""#));

    metrics::counter!("strongroom_test_pages_total").increment(1);
    assert!(page(address, "/metrics").await.contains("strongroom_test_pages_total 1"));
    assert!(page(address, "/elsewhere").await.starts_with("HTTP/1.1 404"));
    end.cancel();
    served.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_check_that_hangs_has_failed() {
    let readiness = Readiness::new().check("kms", std::future::pending);
    let answer = tower::ServiceExt::oneshot(
        strongroom_perimeter::ops::router(readiness, numbers()),
        http::Request::get("/readyz").body(axum::body::Body::empty()).unwrap(),
    );
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 503);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("no answer in time"));
}
