//! Three kills on the way: the importer, the vault under a running importer, and both.

use std::path::Path;

use super::child::{Importer, Used};
use super::{Failure, Import, Range};

impl Import<'_> {
    /// The whole import, killed at a quarter, at half and at three quarters.
    pub(super) fn killed_three_times(&mut self, range: Range, source: &Path) -> Result<Used, Failure> {
        let mut kills = 0;
        let mut importer = Importer::start(self, range.name, source)?;
        let mut ended = importer.until(self, range.count / 4)?;
        if !ended {
            kills += 1;
            let used = importer.kill(self)?;
            importer = Importer::start(self, range.name, source)?;
            importer.used_before(used);
            ended = importer.until(self, range.count / 2)?;
        }
        if !ended {
            kills += 1;
            self.vault.kill_and_start()?;
            ended = importer.until(self, range.count / 4 * 3)?;
        }
        if !ended {
            kills += 1;
            let used = importer.kill(self)?;
            self.vault.kill_and_start()?;
            importer = Importer::start(self, range.name, source)?;
            importer.used_before(used);
        }
        let used = importer.finish(self)?;
        self.report.line(&format!("{}: killed {kills} times", self.store));
        self.report.agree(self.store, "kills", kills == 3);
        Ok(used)
    }
}
