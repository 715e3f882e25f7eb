//! The last line: what is about to be written is searched for card numbers, and their digits are replaced.
//!
//! Promises: no written line holds what [`scan::all_pans`] takes for a card number, plain or grouped.
//! Does not promise: to find numbers in base64, hex or other disguises. No line should hold one at all: the counter
//! `strongroom_log_pan_scrubbed_total` must stay 0, and a test and an alarm hold it to that.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_domain::scan;
use tracing_subscriber::fmt::MakeWriter;

const COUNTER: &str = "strongroom_log_pan_scrubbed_total";

/// Shows the counter at 0, so that its absence is not taken for it.
pub(super) fn register() {
    metrics::describe_counter!(COUNTER, "card numbers found and removed in the last line; must stay 0");
    metrics::counter!(COUNTER).absolute(0);
}

/// Where lines go, scrubbed. Clones write to the same place.
#[derive(Clone)]
pub struct ScrubbedLines(Arc<Mutex<dyn Write + Send>>);

impl ScrubbedLines {
    /// Lines to `sink`.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(sink)))
    }
}

impl std::fmt::Debug for ScrubbedLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScrubbedLines(..)")
    }
}

impl<'a> MakeWriter<'a> for ScrubbedLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// `tracing-subscriber` writes each event as one whole line in one call.
impl Write for ScrubbedLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let found = scan::all_pans(line);
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_empty() {
            sink.write_all(line)?;
        } else {
            metrics::counter!(COUNTER).increment(found.len() as u64);
            sink.write_all(&masked(line, &found))?;
        }
        sink.flush()?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

fn masked(line: &[u8], found: &[Range<usize>]) -> Vec<u8> {
    let mut masked = line.to_vec();
    for range in found {
        for byte in &mut masked[range.clone()] {
            if byte.is_ascii_digit() {
                *byte = b'*';
            }
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(line: &str) -> String {
        let sink = Sink::default();
        ScrubbedLines::new(sink.clone()).write_all(line.as_bytes()).unwrap();
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn card_numbers_become_stars_and_the_rest_stays() {
        assert_eq!(written("{\"note\":\"4242424242424242\"}\n"), "{\"note\":\"****************\"}\n");
        assert_eq!(written("a\\n4111 1111 1111 1111 b"), "a\\n**** **** **** **** b");
        assert_eq!(written("x378282246310005,4242-4242-4242-4242"), "x***************,****-****-****-****");
    }

    #[test]
    fn identifiers_and_times_pass_untouched() {
        for line in [
            "{\"timestamp\":\"2026-11-21T07:35:22.123456Z\",\"status\":201}",
            "\"request_id\":\"0190a0b0-c0d0-7e0f-8f00-501800000009\"",
            "\"trace_id\":\"a4242424242424242b51916cd43dd844\"",
            "\"sha256\":\"a4242424242424242b51916cd43dd844a4242424242424242b51916cd43dd844\"",
        ] {
            assert_eq!(written(line), line);
        }
    }
}
