//! One batch to the vault and its answer back.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use strongroom_domain::{Clock as _, ProblemKind, Token, scan};
use strongroom_perimeter::clock::SystemClock;

use super::batch::{Batch, Sent};
use super::journal::{Acknowledged, Head, Imported};
use super::kind::Kind;
use crate::cli::CliError;
use crate::cli::card::fields::Fault;
use crate::cli::client::{Answer, Api, Call, Door, Patience};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest words of a refusal that are kept.
const DETAIL_BYTES_MAX: usize = 200;

/// Sends batches of one import. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sender(Arc<Shared>);

struct Shared {
    api: Api,
    head: Head,
    patience: Patience,
    /// Connections nobody uses at the moment.
    doors: Mutex<Vec<Door>>,
}

/// What the vault answers: one result for each card, in order.
#[derive(Deserialize)]
struct Results {
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    card: Option<Made>,
    problem: Option<Refusal>,
}

#[derive(Deserialize)]
struct Made {
    token: String,
    brand: Option<String>,
    version: u64,
}

#[derive(Deserialize)]
struct Refusal {
    r#type: String,
    detail: Option<String>,
    pointer: Option<String>,
}

impl Sender {
    pub(super) fn new(api: Api, head: &Head, patience: Patience) -> Self {
        Self(Arc::new(Shared { api, head: head.clone(), patience, doors: Mutex::default() }))
    }

    /// Sends one batch until it is answered. A batch without cards needs no call.
    pub(super) async fn send(&self, batch: Batch) -> Result<Acknowledged, CliError> {
        let mut acknowledged = Acknowledged {
            number: batch.number,
            at: SystemClock.now(),
            lines: (batch.first_line, batch.last_line),
            through: batch.through,
            replayed: false,
            cards: Vec::new(),
            faults: batch.faults,
            refused: Vec::new(),
        };
        if batch.cards.is_empty() {
            return Ok(acknowledged);
        }
        let key = HeaderValue::try_from(self.0.head.key(batch.number))?;
        let call = Call {
            method: Method::POST,
            path: self.0.head.kind.path(&self.0.head.tenant),
            headers: vec![(IDEMPOTENCY_KEY, key)],
            body: batch.body,
        };
        let answer = self.ask(&call).await?;
        if answer.status != StatusCode::OK {
            return Err(refused_whole(&answer, acknowledged.lines));
        }
        acknowledged.replayed = answer.is_replay();
        acknowledged.at = SystemClock.now();
        read(self.0.head.kind, &answer, batch.cards, &mut acknowledged)?;
        Ok(acknowledged)
    }

    async fn ask(&self, call: &Call) -> Result<Answer, CliError> {
        let doors = || self.0.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let free = doors().pop();
        let mut door = free.unwrap_or_else(|| self.0.api.door());
        let answer = self.0.patience.ask(&mut door, call).await?;
        doors().push(door);
        Ok(answer)
    }
}

fn refused_whole(answer: &Answer, (first, last): (u64, u64)) -> CliError {
    let why = answer.refusal();
    match answer.problem() {
        Some(ProblemKind::IdempotencyKeyReused) => format!(
            "lines {first} to {last} are not what an earlier run sent: the source changed, or was written by another \
             version of this program. Import what is left with another folder"
        ),
        _ => format!("lines {first} to {last}: {why}; nothing of them is in, run again when that is mended"),
    }
    .into()
}

/// Puts each result to its line.
fn read(
    kind: Kind,
    answer: &Answer,
    cards: Vec<Sent>,
    acknowledged: &mut Acknowledged,
) -> Result<(), CliError> {
    let not_understood = || "the vault's answer to a batch is not one this program understands";
    let results: Results = serde_json::from_slice(&answer.body).map_err(|_| not_understood())?;
    if results.results.len() != cards.len() {
        return Err(not_understood().into());
    }
    for (sent, outcome) in cards.into_iter().zip(results.results) {
        match outcome {
            Outcome { status, card: Some(made), .. }
                if status == kind.done_status() && Token::parse(&made.token).is_ok() =>
            {
                let Sent { line, alias, what } = sent;
                let changed = what.map(|what| (Cow::Borrowed(what), made.version));
                let Made { token, brand, .. } = made;
                acknowledged.cards.push(Imported { line, token, brand, alias, changed });
            }
            Outcome { status: 400..500, problem: Some(refusal), .. } => {
                acknowledged.refused.push(refusal.fault(sent.line));
            }
            _ => return Err(not_understood().into()),
        }
    }
    Ok(())
}

impl Refusal {
    /// The refusal in words of this program, and the vault's if they are fit to be written down.
    fn fault(self, line: u64) -> Fault {
        let kind = ProblemKind::ALL.iter().find(|kind| kind.type_uri() == self.r#type);
        let reason = kind.map_or("refused", |kind| kind.slug());
        let is_fit = |text: &String| {
            text.len() <= DETAIL_BYTES_MAX && !text.chars().any(char::is_control) && !scan::holds_pan(text)
        };
        let own = kind.map_or("the vault refused it", |kind| kind.title());
        let detail = self.detail.filter(is_fit).map_or(Cow::Borrowed(own), Cow::Owned);
        let field = self.pointer.filter(is_fit).and_then(|pointer| {
            Some(Cow::Owned(pointer.rsplit('/').next().filter(|field| !field.is_empty())?.to_owned()))
        });
        Fault { line, field, reason: reason.into(), detail }
    }
}
