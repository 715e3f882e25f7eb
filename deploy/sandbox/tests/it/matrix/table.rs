//! The table.

use std::fmt::Write as _;

use strongroom_sandbox::client::Exchange;

use super::log::Audited;
use super::way::Way;
use super::{Fault, Mode, UPSTREAM_TIMEOUT_MS};

/// What one attempt looked like from its three sides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    status: u16,
    /// The slug of a problem of ours; none: the PSP's own answer.
    problem: Option<String>,
    retry_after: Option<String>,
    should_retry: Option<String>,
    /// What became of the first one, where that is why this one was refused.
    state: Option<String>,
    names_forward: bool,
    requests: usize,
    audited: Audited,
}

impl Seen {
    pub(super) fn new(reply: &Exchange, requests: usize, audited: Audited) -> Self {
        let document = reply.json();
        let slug = document["type"].as_str().and_then(|uri| uri.strip_prefix("urn:strongroom:problem:"));
        if slug.is_some() {
            assert!(
                document["error"]["code"].as_str() == slug && document["status"] == reply.status(),
                "{document}"
            );
        }
        let header = |name: &str| reply.header(name).map(str::to_owned);
        Self {
            status: reply.status(),
            problem: slug.map(str::to_owned),
            retry_after: header("retry-after"),
            should_retry: header("stripe-should-retry"),
            state: document["state"].as_str().filter(|_| slug.is_some()).map(str::to_owned),
            names_forward: document["forward_id"].is_string()
                || reply.header("strongroom-forward-id").is_some(),
            requests,
            audited,
        }
    }

    /// What has to hold, whatever the table says.
    pub(super) fn hold_to(&self, mode: Mode, fault: Fault, again: &Self) {
        assert_eq!(self.requests, usize::from(fault.is_sent()), "{fault:?}: {self:?}");
        let requests_max = if mode == Mode::AtMostOnce { 1 } else { 2 };
        assert!(
            again.requests <= 1 && self.requests + again.requests <= requests_max,
            "{fault:?}: {again:?}"
        );
        let refused = mode == Mode::AtMostOnce && fault.is_sent();
        assert_eq!(
            again.problem.as_deref() == Some("payment-reference-taken"),
            refused,
            "{fault:?}: {again:?}"
        );
        assert_eq!(self.audited.entries.len(), 2 * usize::from(fault.is_sent()), "{fault:?}: {self:?}");
        assert_eq!(self.names_forward, fault.is_sent(), "{fault:?}: {self:?}");
        let ours = self.problem.is_some();
        // After a byte was sent nothing of ours invites a retry; before, it says when.
        assert!(!ours || !fault.is_sent() || (self.retry_after.is_none() && self.status >= 424), "{self:?}");
        assert!(!ours || !fault.is_sent() || self.should_retry.as_deref() == Some("false"), "{self:?}");
        assert!(fault.is_sent() || (self.status == 424 && self.retry_after.is_some()), "{self:?}");
    }

    fn caller(&self) -> String {
        let mut text = match &self.problem {
            Some(problem) => format!("{} `{problem}`", self.status),
            None => format!("{}, the PSP's own", self.status),
        };
        if let Some(state) = &self.state {
            let _ = write!(text, ", state `{state}`");
        }
        if let Some(seconds) = &self.retry_after {
            let _ = write!(text, ", `Retry-After: {seconds}`");
        }
        if let Some(word) = &self.should_retry {
            let _ = write!(text, ", `Stripe-Should-Retry: {word}`");
        }
        if self.names_forward {
            text.push_str(", forward id");
        }
        text
    }

    fn log(&self) -> String {
        if self.audited.entries.is_empty() { "nothing".to_owned() } else { self.audited.entries.join(", ") }
    }
}

/// One cell.
pub(super) struct Row {
    pub(super) mode: Mode,
    pub(super) fault: Fault,
    pub(super) way: Way,
    pub(super) first: Seen,
    pub(super) again: Seen,
}

impl Row {
    fn text(&self) -> String {
        let Self { first, again, .. } = self;
        format!(
            "{} | {} | {} | {} | {} |",
            first.caller(),
            first.requests,
            first.log(),
            again.caller(),
            again.requests
        )
    }
}

/// The page. Entries that give the same are one line.
pub(super) fn written(rows: &[Row]) -> String {
    let mut page = format!(
        "# What becomes of a call when the PSP fails\n\n\
         Made by the test `every_fault_by_every_entry_is_one_attempt_and_one_answer` (`deploy/sandbox/tests/it/matrix.rs`): real\n\
         sockets, the proxy and the vault as they are shipped, a PSP that fails as it is told to. A difference from this page fails\n\
         the test; `STRONGROOM_BLESS=1` writes it anew. [failures.md](failures.md) has every other failure.\n\n\
         Each line is a charge with a token, then the same charge again with the same idempotency key when the fault has passed.\n\
         *Requests* are those the PSP read whole: never more than one for each attempt. Where the table says *nothing*, no card data\n\
         left the vault. The PSP of *no answer for 30 s* sleeps that long; the route gives up after {} s, as shipped ones do\n\
         after theirs. At *307* the server the PSP points to was never connected to.\n",
        f64::from(UPSTREAM_TIMEOUT_MS) / 1_000.0
    );
    for mode in Mode::ALL {
        let _ = write!(
            page,
            "\n## {}\n\n| fault | entry | the caller sees | requests | the audit log says | the same again | requests |\n\
             |---|---|---|---|---|---|---|\n",
            mode.words()
        );
        for fault in Fault::ALL {
            let of = rows.iter().filter(|row| row.mode == mode && row.fault == fault);
            let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
            for row in of {
                let text = row.text();
                match lines.iter_mut().find(|(same, _)| *same == text) {
                    Some((_, ways)) => ways.push(row.way.words()),
                    None => lines.push((text, vec![row.way.words()])),
                }
            }
            for (text, ways) in lines {
                let _ = writeln!(page, "| {} | {} | {text}", fault.words(), ways.join(", "));
            }
        }
    }
    page
}
