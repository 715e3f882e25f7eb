//! A file of cards by `card import`, as its own process against the vault as its own, at the vault's default limits: killed
//! three times on the way, and counted. Then what reading costs beside so many cards.
//!
//! A hundredth of the cards comes in first, unkilled, so that the same reads can be measured beside few and beside many.

mod child;
mod disk;
mod kills;
pub(crate) mod reads;

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::load::{Wallet, number};
use super::report::Report;
use super::vault::RunningVault;
use super::{Failure, StoreKind, counts, postgres};

use child::{Importer, Used};

/// One store's run.
pub(crate) struct Import<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) store: StoreKind,
    pub(crate) cards: u64,
    /// Batches under way at once; `None` is the command's own.
    pub(crate) connections: Option<u64>,
    pub(crate) folder: &'a Path,
    pub(crate) vault: &'a mut RunningVault,
    pub(crate) server: Option<&'a postgres::Server>,
    pub(crate) began: Instant,
}

/// Which cards a file has.
#[derive(Clone, Copy)]
struct Range {
    name: &'static str,
    from: u64,
    count: u64,
}

impl Import<'_> {
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let few = Range { name: "few", from: 0, count: (self.cards / 100).max(1) };
        let many = Range { name: "many", from: few.count, count: self.cards };
        let source = self.write(few)?;
        let used = Importer::start(&self, few.name, &source)?.finish(&self)?;
        self.report.line(&format!(
            "{}: {} cards first, {:.1} s",
            self.store,
            few.count,
            used.time.as_secs_f64()
        ));
        let wallet = self.wallet(few)?;
        let before = self.reads(few.count, &wallet)?;

        let empty = disk::tables(&self)?;
        let source = self.write(many)?;
        self.began = Instant::now();
        let mut used = self.killed_three_times(many, &source)?;
        used.time = self.began.elapsed();
        let grown = disk::growth(&empty, &disk::tables(&self)?);
        self.told(many, &used, grown.values().sum());
        let each = |(name, bytes): (&String, &u64)| format!("{name} {}", bytes / many.count.max(1));
        let each: Vec<_> = grown.iter().map(each).collect();
        self.report.line(&format!("{}: bytes a card by table: {}", self.store, each.join(", ")));
        self.counted(few, many)?;
        let wallet = self.wallet(many)?;
        let after = self.reads(few.count + many.count, &wallet)?;
        for (few, many) in before.iter().zip(&after) {
            self.report.read(self.store, few, many);
        }
        Ok(())
    }

    fn write(&self, range: Range) -> Result<PathBuf, Failure> {
        let path = self.folder.join(range.name).with_extension("csv");
        let mut out = BufWriter::new(std::fs::File::create(&path)?);
        writeln!(out, "number,exp_month,exp_year,holder")?;
        for n in range.from..range.from + range.count {
            writeln!(out, "{},12,2034,JANE Q CARDHOLDER", number(n))?;
        }
        out.into_inner()?.sync_all()?;
        Ok(path)
    }

    fn state(&self, range: Range) -> PathBuf {
        self.folder.join("import").join(range.name)
    }

    fn told(&mut self, range: Range, used: &Used, bytes: u64) {
        let (cards, seconds) = (range.count as f64, used.time.as_secs_f64());
        self.report.import(format!(
            "| {} | {} | {seconds:.1} | {:.0} | {:.1} | {:.1} | {} | {} | {} |",
            self.store,
            range.count,
            cards / seconds,
            used.vault_cpu * 1e6 / cards,
            used.import_cpu * 1e6 / cards,
            used.vault_peak_kib / 1024,
            used.import_peak_kib / 1024,
            bytes / range.count.max(1),
        ));
    }

    /// Rows, entries and the mapping must be exactly the cards of the files.
    fn counted(&mut self, few: Range, many: Range) -> Result<(), Failure> {
        let counted = match self.server {
            Some(server) => counts::of_postgres(server)?,
            None => counts::of_sqlite(&self.vault.database())?,
        };
        let mapped = std::fs::read_to_string(self.state(many).join("mapping.csv"))?;
        let mut tokens: Vec<_> = mapped.lines().skip(1).filter_map(|line| line.rsplit(',').next()).collect();
        let lines = tokens.len() as u64;
        tokens.sort_unstable();
        tokens.dedup();
        let reconciled: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.state(many).join("report.json"))?)?;
        let checks = reconciled["checks"]
            .as_object()
            .is_some_and(|checks| checks.values().all(|holds| *holds == true));
        let wanted = few.count + many.count;
        self.report.line(&format!(
            "{}: rows {}, audit entries {}, of {wanted}; mapping {lines} lines, {} tokens, of {}; batches replayed {}",
            self.store,
            counted.cards,
            counted.tokenized,
            tokens.len(),
            many.count,
            reconciled["batches_replayed"],
        ));
        let exact = [counted.cards, counted.tokenized] == [wanted; 2]
            && [lines, tokens.len() as u64] == [many.count; 2]
            && reconciled["imported"] == many.count
            && checks;
        self.report.agree(self.store, "import", exact);
        Ok(())
    }

    /// Tokens from all over a file.
    fn wallet(&self, range: Range) -> Result<Wallet, Failure> {
        let wallet = Wallet::default();
        let lines = BufReader::new(std::fs::File::open(self.state(range).join("mapping.csv"))?).lines();
        let every = (range.count / reads::TOKENS).max(1) as usize;
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let tokens = lines.iter().skip(1).step_by(every).filter_map(|line| line.rsplit(',').next());
        wallet.fill(tokens.map(str::to_owned));
        Ok(wallet)
    }
}
