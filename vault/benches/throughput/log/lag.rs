//! How long entries waited for their checkpoint: from the time in each entry to the time the checkpoint was signed.

use std::path::Path;

use strongroom_domain::Timestamp;
use strongroom_vault::audit::bundle_path;

use super::{Failure, Takeover};

/// Entries of a bundle.
const WIDTH: u64 = 256;

/// Reads every entry of a folder. Gives what is told of it.
pub(crate) fn measure(
    folder: &Path,
    checkpoints: &[(u64, i64)],
    takeovers: &[Takeover],
) -> Result<String, Failure> {
    let size = checkpoints.last().map_or(0, |(size, _)| *size);
    let mut signed = checkpoints.iter().peekable();
    let (mut all, mut calm) = (Vec::new(), Vec::new());
    let mut index = 0;
    while index < size {
        let width = usize::try_from((size - index).min(WIDTH))?;
        let bytes = std::fs::read(folder.join(bundle_path(index / WIDTH, width)))?;
        for leaf in leaves(&bytes) {
            while signed.next_if(|(size, _)| *size <= index).is_some() {}
            let Some((_, at)) = signed.peek() else { return Err("an entry no checkpoint covers".into()) };
            let waited = u64::try_from(at - time(leaf)?).unwrap_or(0);
            all.push(waited);
            let is_calm =
                takeovers.iter().all(|takeover| !(takeover.sizes[0]..takeover.sizes[1]).contains(&index));
            calm.extend(is_calm.then_some(waited));
            index += 1;
        }
    }
    Ok(format!(
        "p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms; aside from takeovers p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms ({} of {} entries)",
        share(&mut all, 50),
        share(&mut all, 99),
        share(&mut all, 100),
        share(&mut calm, 50),
        share(&mut calm, 99),
        share(&mut calm, 100),
        calm.len(),
        all.len(),
    ))
}

/// The entries of a bundle.
fn leaves(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (leaf, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).unwrap_or((rest, &[]));
        leaves.push(leaf);
        bytes = rest;
    }
    leaves
}

/// The microsecond an entry says it is of.
fn time(leaf: &[u8]) -> Result<i64, Failure> {
    let text = std::str::from_utf8(leaf)?;
    let told = text.split("\"ts\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let time = told.and_then(Timestamp::parse_rfc3339).ok_or("an entry without a time")?;
    Ok(time.unix_micros())
}

/// Milliseconds this share of them waited at most.
fn share(waited: &mut [u64], percent: usize) -> f64 {
    waited.sort_unstable();
    let at = (waited.len() * percent / 100).min(waited.len().saturating_sub(1));
    waited.get(at).map_or(0.0, |micros| *micros as f64 / 1e3)
}
