//! Putting the files of a bundle together.

use super::bundle::Bundle;
use super::facts::ACCESS;
use super::proofs::PROOFS;
use super::verify::{CHECKPOINT, SAMPLES};
use super::{Collected, Period, machine, page, table};
use crate::audit::hand_over_path;

/// A bundle as it leaves.
pub struct Assembled {
    /// The whole of it as a zip.
    pub zip: Vec<u8>,
    /// SHA-256 of its manifest.
    pub manifest_sha256: [u8; 32],
    /// Its manifest, signed.
    pub manifest: String,
}

/// Why a bundle could not be put together: a defect of ours.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// What is a value is no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The lock file in this program cannot be read.
    #[error("the lock file in this program cannot be read")]
    LockFile,
    /// The zip.
    #[error(transparent)]
    Zip(#[from] zip::result::ZipError),
}

/// Every file, signed.
pub fn assemble(collected: &Collected, period: Period) -> Result<Assembled, AssembleError> {
    let Collected { facts, samples, checkpoint, keys } = collected;
    let mut bundle = Bundle::default();
    for (path, text) in page::pages(facts, samples) {
        bundle.add(path, text);
    }
    for table in table::all(facts) {
        bundle.add(format!("csv/{}.csv", table.name), table.csv());
    }
    bundle.add("evidence.json", serde_json::to_vec_pretty(facts)?);
    bundle.add(CHECKPOINT, checkpoint.as_bytes());
    for sample in samples {
        bundle.add(format!("{SAMPLES}{}.json", sample.requirement), serde_json::to_vec_pretty(sample)?);
    }
    for (name, document) in machine::documents(facts)? {
        bundle.add(format!("machine/{name}"), serde_json::to_vec_pretty(&document)?);
    }
    bundle.add(ACCESS, facts.access.matrix.as_bytes());
    for review in facts.reviews.iter().flat_map(|reviews| &reviews.filed) {
        if let Some(file) = &review.file {
            bundle.add(review.path(), serde_json::to_vec_pretty(file)?);
        }
    }
    if let Some(proofs) = &facts.proofs {
        bundle.add(PROOFS, serde_json::to_vec_pretty(proofs)?);
    }
    for (number, made) in (0..).zip(keys.keys.hand_overs()) {
        bundle.add(format!("log/{}", hand_over_path(number).display()), made.note().as_bytes());
    }
    let (manifest_sha256, manifest) = bundle.seal(keys.keys.newest().origin(), period, &keys.signer);
    Ok(Assembled { zip: bundle.zip()?, manifest_sha256, manifest })
}
