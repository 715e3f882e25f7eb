//! What is filed beside the log: reviews that people signed, and of each evidence bundle what the next one is compared with.
//!
//! Promises: rows are added and never changed; one review has one number.
//! Trusts: the log to name each by its hash: whoever reads a row holds it against its entry.

use async_trait::async_trait;
use strongroom_domain::Timestamp;

use super::error::StoreError;
use crate::review::ReviewKind;

/// Most reviews of one page.
pub const REVIEWS_READ_MAX: u32 = 500;

/// A review as it was filed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReviewRow {
    /// Of what.
    pub kind: ReviewKind,
    /// Counts from 1 within its kind.
    pub number: u64,
    /// Hash of what was signed: the log names it.
    pub sha256: [u8; 32],
    /// What was signed, canonical.
    pub record: String,
    /// The signature.
    pub signature: Vec<u8>,
    /// The certificate whose key made it, DER.
    pub certificate: Vec<u8>,
    /// When it was filed.
    pub reviewed_at: Timestamp,
}

/// What is kept of a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleRow {
    /// Hash of its manifest: the log names it.
    pub sha256: [u8; 32],
    /// When it was made.
    pub made_at: Timestamp,
    /// The manifest, signed.
    pub manifest: String,
    /// Its access matrix, as its file holds it.
    pub access: String,
}

/// One thing to file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filed {
    /// A review.
    Review(ReviewRow),
    /// A bundle.
    Bundle(BundleRow),
}

/// Reading what was filed.
#[async_trait]
pub trait FiledStore: Send + Sync {
    /// The newest review of a kind.
    async fn last_review(&self, kind: ReviewKind) -> Result<Option<ReviewRow>, StoreError>;

    /// Reviews of a kind by number, after one. At most [`REVIEWS_READ_MAX`].
    async fn reviews(&self, kind: ReviewKind, after: u64) -> Result<Vec<ReviewRow>, StoreError>;

    /// What is kept of the bundle with this manifest.
    async fn bundle(&self, sha256: &[u8; 32]) -> Result<Option<BundleRow>, StoreError>;
}

const INSERT_REVIEW: &str = "\
INSERT INTO reviews (kind, number, sha256, record, signature, certificate, reviewed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

const INSERT_BUNDLE: &str = "\
INSERT INTO evidence_bundles (sha256, made_at, manifest, access) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

const LAST: &str = "\
SELECT kind, number, sha256, record, signature, certificate, reviewed_at FROM reviews
WHERE kind = $1 ORDER BY number DESC LIMIT 1";

const AFTER: &str = "\
SELECT kind, number, sha256, record, signature, certificate, reviewed_at FROM reviews
WHERE kind = $1 AND number > $2 ORDER BY number LIMIT $3";

const BUNDLE: &str = "SELECT sha256, made_at, manifest, access FROM evidence_bundles WHERE sha256 = $1";

macro_rules! driver {
    ($driver:ident, $store:ty, $connection:ty, $row:ty) => {
        /// Reads and writes of one driver; both read `$1` as the first value.
        pub(super) mod $driver {
            use sqlx::Row as _;

            use super::*;
            use crate::store::change::Committed;
            use crate::store::decode::{bytes32, count};
            use crate::store::encode::signed;

            /// Files one. `Conflict` if its number, or it itself, is taken.
            pub(in crate::store) async fn write(
                connection: &mut $connection,
                filed: &Filed,
            ) -> Result<Committed, sqlx::Error> {
                let query = match filed {
                    Filed::Review(row) => sqlx::query(INSERT_REVIEW)
                        .bind(row.kind.as_str())
                        .bind(signed(row.number))
                        .bind(row.sha256.as_slice())
                        .bind(&row.record)
                        .bind(&row.signature)
                        .bind(&row.certificate)
                        .bind(row.reviewed_at.unix_micros()),
                    Filed::Bundle(row) => sqlx::query(INSERT_BUNDLE)
                        .bind(row.sha256.as_slice())
                        .bind(row.made_at.unix_micros())
                        .bind(&row.manifest)
                        .bind(&row.access),
                };
                let rows = query.execute(connection).await?.rows_affected();
                Ok(if rows == 1 { Committed::Done } else { Committed::Conflict })
            }

            fn review(row: &$row) -> Result<ReviewRow, StoreError> {
                let kind = ReviewKind::parse(row.try_get::<&str, _>(0)?);
                Ok(ReviewRow {
                    kind: kind.ok_or(StoreError::Corrupt("reviews.kind"))?,
                    number: count(row.try_get(1)?)?,
                    sha256: bytes32(row.try_get::<&[u8], _>(2)?)?,
                    record: row.try_get(3)?,
                    signature: row.try_get(4)?,
                    certificate: row.try_get(5)?,
                    reviewed_at: Timestamp::from_unix_micros(row.try_get(6)?),
                })
            }

            #[async_trait]
            impl FiledStore for $store {
                async fn last_review(&self, kind: ReviewKind) -> Result<Option<ReviewRow>, StoreError> {
                    let query = sqlx::query(LAST).bind(kind.as_str());
                    query.fetch_optional(&self.readers).await?.map(|row| review(&row)).transpose()
                }

                async fn reviews(&self, kind: ReviewKind, after: u64) -> Result<Vec<ReviewRow>, StoreError> {
                    let query = sqlx::query(AFTER).bind(kind.as_str()).bind(signed(after));
                    let query = query.bind(i64::from(REVIEWS_READ_MAX));
                    query.fetch_all(&self.readers).await?.iter().map(review).collect()
                }

                async fn bundle(&self, sha256: &[u8; 32]) -> Result<Option<BundleRow>, StoreError> {
                    let query = sqlx::query(BUNDLE).bind(sha256.as_slice());
                    let Some(row) = query.fetch_optional(&self.readers).await? else { return Ok(None) };
                    Ok(Some(BundleRow {
                        sha256: bytes32(row.try_get::<&[u8], _>(0)?)?,
                        made_at: Timestamp::from_unix_micros(row.try_get(1)?),
                        manifest: row.try_get(2)?,
                        access: row.try_get(3)?,
                    }))
                }
            }
        }
    };
}

driver!(postgres, crate::store::PostgresStore, sqlx::PgConnection, sqlx::postgres::PgRow);
driver!(sqlite, crate::store::SqliteStore, sqlx::SqliteConnection, sqlx::sqlite::SqliteRow);
