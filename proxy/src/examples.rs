//! Example requests beside the routes: what `route test` runs, without network or secrets.
//!
//! A file `ROUTE-ANYTHING.txt` is a request as a caller writes it, with `$TOKEN` where tokens go, and what must become of it:
//!
//! ```text
//! POST /v1/payment_methods
//! Content-Type: application/x-www-form-urlencoded
//!
//! card[number]=$TOKEN&card[exp_month]=12
//! --- sent
//! card[number]=$NUMBER&card[exp_month]=3
//! ```
//!
//! or, in the place of `--- sent`, the problem it is refused with: `--- refused misplaced-token`. What follows `--- answer` is for
//! tests that have a PSP.
//!
//! Promises: an example runs through the code that forwards; one that says nothing, or has no route, fails.
//! Upholds: C-51.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_domain::route::RouteName;
use strongroom_domain::{Clock as _, Environment, Expiry, ProblemKind};
use strongroom_perimeter::clock::SystemClock;

use crate::cli::Failed;
use crate::credential::STAND_IN;
use crate::explain::{self, message};
use crate::forward::rehearse;
use crate::inject::ReleasedCard;
use crate::registry;
use crate::route::{Bound, Destination, Entry};
use crate::upstream::{Resolve, SystemResolver};

/// The card of examples: a published test number.
const NUMBER: &str = "4242424242424242";
const CVC: &str = "737";
const HOLDER: &str = "JANE DOE";
/// The token of that card. Nobody's: every vault draws its own.
const TOKEN: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";

/// What came of the examples.
#[derive(Debug, Default)]
pub struct Report {
    /// Each file, and why it failed.
    pub ran: Vec<(PathBuf, Option<String>)>,
    /// Routes without any.
    pub without: Vec<String>,
}

/// What must become of a request.
enum Must {
    BeSent(String),
    BeRefused(String),
}

/// Runs every example of these folders.
pub async fn run(policies: &Path, folders: &[PathBuf], environment: Environment) -> Result<Report, Failed> {
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
    let entry = registry::without_secrets(policies, environment, None, &resolver)?;
    let routes: BTreeSet<RouteName> =
        entry.destinations().map(|destination| destination.route.name.clone()).collect();
    let mut without = routes.clone();
    let mut report = Report::default();
    for file in files(folders)? {
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let named =
            |route: &&RouteName| stem.strip_prefix(route.as_str()).is_some_and(|rest| rest.starts_with('-'));
        let route = routes.iter().filter(named).max_by_key(|route| route.as_str().len());
        let failed = match route {
            None => Some("its name does not begin with a route's and a hyphen".to_owned()),
            Some(route) => {
                without.remove(route);
                example(&entry, route, &std::fs::read_to_string(&file)?).await.err()
            }
        };
        report.ran.push((file, failed));
    }
    report.without = without.iter().map(RouteName::to_string).collect();
    Ok(report)
}

fn files(folders: &[PathBuf]) -> std::io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for folder in folders {
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|ending| ending == "txt") {
                files.insert(path);
            }
        }
    }
    Ok(files)
}

async fn example(entry: &Entry<Destination>, route: &RouteName, text: &str) -> Result<(), String> {
    let (request, must) = parse(text).ok_or("it says neither `--- sent` nor `--- refused PROBLEM`")?;
    // The reader of messages takes the last line end for the file's, not the body's.
    let request = format!("{request}\n").replace("$TOKEN", TOKEN);
    let (parts, body) = message::read(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let bound = Bound { route: route.clone(), account: None, upstream: None };
    let target = entry.find(&parts, Some(&bound)).map_err(|refused| refused.to_string())?;
    let mut order = explain::anonymous(target, parts, body).map_err(|error| error.to_string())?;
    let became = rehearse(&mut order, &card, SystemClock.now());
    match (became, must) {
        (Ok(body), Must::BeSent(sent)) if body == sent.as_bytes() => Ok(()),
        (Ok(body), Must::BeSent(_)) => Err(format!("would be sent as\n{}", shown(&body))),
        (Ok(body), Must::BeRefused(slug)) => {
            Err(format!("must be refused with {slug} and would be sent as\n{}", shown(&body)))
        }
        (Err(failure), Must::BeRefused(slug)) if failure.problem().kind.slug() == slug => Ok(()),
        (Err(failure), _) => {
            let problem = failure.problem();
            Err(format!("is refused with {}: {}", problem.kind.slug(), problem.detail))
        }
    }
}

/// The request, and what must become of it.
fn parse(text: &str) -> Option<(&str, Must)> {
    let (request, rest) = text.split_once("\n--- ")?;
    let expected = rest.split("\n--- ").next()?;
    if let Some(slug) = expected.strip_prefix("refused ") {
        let slug = slug.trim();
        let known = ProblemKind::ALL.iter().any(|kind| kind.slug() == slug);
        return known.then(|| (request, Must::BeRefused(slug.to_owned())));
    }
    let sent = expected.strip_prefix("sent\n")?;
    // The last section ends with the file's own line end.
    let is_last = rest.len() == expected.len();
    let sent = if is_last { sent.strip_suffix('\n').unwrap_or(sent) } else { sent };
    let sent = sent.replace("$NUMBER", NUMBER).replace("$CVC", CVC).replace("$CREDENTIAL", STAND_IN);
    Some((request, Must::BeSent(sent)))
}

fn card() -> ReleasedCard {
    ReleasedCard {
        number: Some(NUMBER.into()),
        cvc: Some(CVC.into()),
        expiry: Expiry::new(3, 2030).ok(),
        holder: Some(HOLDER.into()),
    }
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace(NUMBER, "$NUMBER")
}
