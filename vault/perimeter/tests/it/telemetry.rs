//! What is written and counted. One process has one log and one recorder, so these tests share theirs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use metrics_exporter_prometheus::PrometheusHandle;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::telemetry::scrub::ScrubbedLines;
use strongroom_perimeter::telemetry::{Level, install_panic_hook, recorder, subscriber};

use crate::support::{CHECKOUT, House, Leaf, request};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The recorder of this process.
pub(crate) fn numbers() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| recorder().unwrap()).clone()
}

fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let lines = ScrubbedLines::new(log.clone());
        tracing::subscriber::set_global_default(subscriber(Level::Trace, lines, Arc::new(SystemClock)))
            .unwrap();
        install_panic_hook();
        log
    })
    .clone()
}

fn lines(log: &Log) -> Vec<serde_json::Value> {
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("each line is one JSON object")).collect()
}

#[tokio::test]
async fn a_card_number_in_a_log_field_is_starred_and_counted() {
    let (log, numbers) = (log(), numbers());
    tracing::info!(target: "strongroom_test", note = "4242 4242 4242 4242", marker = "scrub-test", "x 378282246310005");
    let line = lines(&log).into_iter().find(|line| line["marker"] == "scrub-test").unwrap();
    assert_eq!(line["note"], "**** **** **** ****");
    assert_eq!(line["message"], "x ***************");
    assert!(numbers.render().contains("strongroom_log_pan_scrubbed_total 2"));
}

#[tokio::test]
async fn a_request_is_one_line_with_the_template_and_its_numbers() {
    let (log, numbers) = (log(), numbers());
    let house = House::open().await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    let answer = sender.send_request(request("/slow/13")).await.unwrap();
    let id = answer.headers()["request-id"].to_str().unwrap().to_owned();
    let lines = lines(&log);
    let of_this: Vec<_> = lines.iter().filter(|line| line["request_id"] == id.as_str()).collect();
    let [line] = of_this.as_slice() else { panic!("{of_this:?}") };
    assert_eq!(line["route"], "/slow/{ms}");
    assert_eq!((&line["method"], &line["status"]), (&"GET".into(), &200.into()));
    assert_eq!(line["caller"], CHECKOUT);
    assert!(line["ms"].as_f64().unwrap() >= 13.0);
    assert_eq!(line["level"], "INFO");
    let shown = numbers.render();
    assert!(
        shown.contains(
            r#"strongroom_http_requests_total{service="test",route="/slow/{ms}",method="GET",status="200"} "#
        ),
        "{shown}"
    );
    assert!(shown.contains("strongroom_http_request_seconds_bucket{"));
    assert!(shown.contains(r#"le="0.0001""#) && shown.contains(r#"le="10""#));
}

#[tokio::test]
async fn a_panic_is_logged_by_its_place_and_never_by_its_words() {
    let log = log();
    let house = House::open().await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    assert_eq!(sender.send_request(request("/panic/very-secret-words")).await.unwrap().status(), 500);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("panicked") && text.contains("tests/it/support.rs"), "{text}");
    assert!(!text.contains("very-secret-words"), "{text}");
    assert!(text.contains(r#""route":"/panic/{what}""#), "{text}");
}

#[tokio::test]
async fn crates_that_are_not_ours_are_quiet_below_warn() {
    let log = log();
    tracing::info!(target: "somebody_else", "a buffer");
    tracing::warn!(target: "somebody_else", marker = "foreign", "a warning");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("a buffer") && text.contains("a warning"));
}
