//! `vault scan`: card numbers where none may be. Reads what it is given, touches no store, no key and no network.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use strongroom_domain::Clock;
use strongroom_perimeter::clock::SystemClock;
use strongroom_scan::{Format, Ignores, Report, Scan};
use time::{Date, OffsetDateTime};

use super::CliError;

/// Ends with 0 if nothing was found, with 1 if something was, with 2 if something could not be searched.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files and folders; `-` is standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print a JSON object a line instead of text.
    #[arg(long)]
    json: bool,
    /// Show nothing of any number, not even its first six and last four digits.
    #[arg(long)]
    no_facts: bool,
    /// A list of places where what is found is known: location, reason, until (TOML).
    #[arg(long, value_name = "FILE")]
    ignore: Option<PathBuf>,
    /// Most gibibytes that the gzip members of one file may become.
    #[arg(long, default_value_t = 64, value_name = "GIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    unpack_max: u64,
}

/// What the exit code says.
const FOUND: u8 = 1;
const TROUBLE: u8 = 2;

/// Searches, and tells it to `out`. Trouble of its own goes to standard error, and is an exit code too: 1 would mean a finding.
pub fn run(args: &Args, out: &mut impl Write) -> ExitCode {
    let code = today(&SystemClock).and_then(|today| search(args, today, &mut io::stdin().lock(), out));
    code.map_or_else(
        |error| {
            // Nowhere is left to report that standard error is closed.
            let _ = writeln!(io::stderr(), "strongroom-vault: {error}");
            ExitCode::from(TROUBLE)
        },
        ExitCode::from,
    )
}

fn search(args: &Args, today: Date, stdin: &mut impl io::Read, out: &mut impl Write) -> Result<u8, CliError> {
    let ignores = match &args.ignore {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("the ignore list {}: {error}", file.display()))?;
            Ignores::parse(&text, today)?
        }
        None => Ignores::default(),
    };
    let format = if args.json { Format::Json } else { Format::Text };
    let mut report = Report::new(out, format, !args.no_facts);
    let mut scan = Scan::new(ignores, args.unpack_max << 30);
    for path in &args.paths {
        if path.as_os_str() == "-" {
            scan.reader("-", &mut *stdin, &mut report)?;
        } else {
            scan.path(path, &mut report)?;
        }
    }
    report.summary(scan.totals(), scan.ignores())?;
    let totals = scan.totals();
    Ok(if totals.unread > 0 {
        TROUBLE
    } else if totals.found > 0 {
        FOUND
    } else {
        0
    })
}

fn today(clock: &dyn Clock) -> Result<Date, CliError> {
    Ok(OffsetDateTime::from_unix_timestamp(clock.now().unix_seconds())?.date())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use time::macros::date;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// No published test number and nobody's card: of a prefix that is issued, made for this test.
    fn number() -> String {
        let body = "453201511283036";
        let whole = ('0'..='9').map(|last| format!("{body}{last}"));
        whole.into_iter().find(|number| strongroom_domain::scan::holds_pan(number)).unwrap()
    }

    fn run_line(words: &[&str], stdin: &str) -> (Result<u8, CliError>, String) {
        let line = Line::try_parse_from([&["scan"], words].concat()).unwrap();
        let mut out = Vec::new();
        let code = search(&line.args, date!(2026 - 11 - 29), &mut stdin.as_bytes(), &mut out);
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_exit_code_says_none_found_or_trouble() {
        let number = number();
        let (code, out) = run_line(&["-"], "nothing here, and the test number 4242424242424242");
        assert_eq!(code.unwrap(), 0, "{out}");
        assert!(out.contains("0 found, 1 known test numbers"), "{out}");
        let (code, out) = run_line(&["-"], &number);
        assert_eq!(code.unwrap(), FOUND, "{out}");
        assert!(!out.contains(&number) && out.contains("visa 453201…"), "{out}");
        let (code, out) = run_line(&["-", "/nowhere/at/all"], "");
        assert_eq!(code.unwrap(), TROUBLE, "{out}");
        assert!(out.contains("unread  /nowhere/at/all"), "{out}");
    }

    #[test]
    fn what_is_on_the_ignore_list_is_told_and_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (_, out) = run_line(&["-", "--json"], &number());
        let found: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        let location = found["location"].as_str().unwrap();
        let list = folder.path().join("ignore.toml");
        let list_path = list.display().to_string();
        for (until, code) in [("2027-01-31", 0), ("2026-11-28", FOUND)] {
            let text = format!(
                "[[ignore]]\nlocation = \"{location}\"\nreason = \"made for a test\"\nuntil = \"{until}\""
            );
            std::fs::write(&list, text).unwrap();
            let (was, out) = run_line(&["-", "--ignore", &list_path], &number());
            assert_eq!(was.unwrap(), code, "{out}");
            assert_eq!(out.contains("ended   "), code == FOUND, "{out}");
        }
        std::fs::write(&list, "[[ignore]]\nlocation = \"x\"").unwrap();
        assert!(run_line(&["-", "--ignore", &list_path], "").0.is_err());
    }

    #[test]
    fn facts_are_left_out_when_told_so() {
        for words in [&["-", "--no-facts"][..], &["-", "--no-facts", "--json"]] {
            let (_, out) = run_line(words, &number());
            assert!(out.contains("visa") && !out.contains("453201") && !out.contains("0366"), "{out}");
        }
    }
}
