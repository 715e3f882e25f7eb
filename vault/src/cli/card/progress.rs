//! How far a long command is: one line that moves on a terminal, a plain line now and then anywhere else.

use std::io::{IsTerminal as _, Stderr, Write as _};
use std::time::{Duration, Instant};

/// How often the line on a terminal moves.
const MOVES_EVERY: Duration = Duration::from_millis(200);
/// How often a plain line is written.
const TELLS_EVERY: Duration = Duration::from_secs(10);
/// Characters of the bar.
const BAR: usize = 24;

/// Progress on standard error.
pub(super) struct Progress {
    out: Stderr,
    is_terminal: bool,
    began: Instant,
    told: Instant,
    total: Option<u64>,
    /// Done before this run: not part of its rate.
    before: u64,
}

impl Progress {
    /// `total` in whatever `at` is counted in.
    pub(super) fn new(total: Option<u64>, before: u64) -> Self {
        let (out, now) = (std::io::stderr(), Instant::now());
        Self { is_terminal: out.is_terminal(), out, began: now, told: now, total, before }
    }

    /// Shows it, if it is time to.
    pub(super) fn show(&mut self, at: u64, done: u64, refused: u64) {
        let every = if self.is_terminal { MOVES_EVERY } else { TELLS_EVERY };
        if self.told.elapsed() >= every {
            self.told = Instant::now();
            let text = self.line(at, done, refused, self.began.elapsed());
            self.write(&text);
        }
    }

    /// Shows a line of the command's own, if it is time to; it is given the time taken.
    pub(super) fn tell(&mut self, line: impl FnOnce(Duration) -> String) {
        let every = if self.is_terminal { MOVES_EVERY } else { TELLS_EVERY };
        if self.told.elapsed() >= every {
            self.told = Instant::now();
            let text = line(self.began.elapsed());
            self.write(&text);
        }
    }

    /// Clears the moving line, so that what follows begins on its own.
    pub(super) fn end(&mut self) {
        if self.is_terminal {
            self.write("");
        }
    }

    /// Nobody to tell is no reason to stop.
    fn write(&mut self, text: &str) {
        let _ = if self.is_terminal {
            write!(self.out, "\r\x1b[2K{text}").and_then(|()| self.out.flush())
        } else {
            writeln!(self.out, "{text}")
        };
    }

    fn line(&self, at: u64, done: u64, refused: u64, taken: Duration) -> String {
        let rate = (done.saturating_sub(self.before)) as f64 / taken.as_secs_f64().max(0.001);
        let counts = format!("{done} cards, {refused} refused, {rate:.0}/s");
        let Some(total) = self.total.filter(|total| *total > 0) else { return counts };
        let share = (at as f64 / total as f64).min(1.0);
        let filled = (share * BAR as f64) as usize;
        format!("[{}{}] {:3.0} % {counts}", "#".repeat(filled), ".".repeat(BAR - filled), share * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_many_and_how_fast() {
        let known = Progress::new(Some(1_000), 100).line(500, 600, 2, Duration::from_secs(5));
        assert_eq!(known, "[############............]  50 % 600 cards, 2 refused, 100/s");
        let unknown = Progress::new(None, 0).line(500, 10, 0, Duration::from_secs(1));
        assert_eq!(unknown, "10 cards, 0 refused, 10/s");
    }
}
