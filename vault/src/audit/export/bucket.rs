//! The log in object storage that keeps what it is given (S3's object lock), in the layout of a folder.
//!
//! Promises: a checkpoint is there only when everything it covers is, each object read back as it was written and held by the
//! storage for the time configured; the newest checkpoint is only ever replaced by one that was held against it.
//! Does not promise: that whoever administers the bucket's account in `GOVERNANCE` mode cannot lift the lock; `COMPLIANCE` does.
//! Trusts: the storage to keep its lock. What is in it is verified by whoever reads it.
//! Upholds: C-56, C-57.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use strongroom_domain::{Clock, Timestamp};
use strongroom_perimeter::outbound::{
    Admission, Answer, ConnectError, Dialer, Pool, SendError, SystemResolver,
};
use strongroom_perimeter::secret_file;
use strongroom_perimeter::tls::anonymous_client_config;
use strongroom_sealing::AwsSigningKey;
use tokio::time::Instant;

use super::request::Account;
use super::{BUNDLES_AT_ONCE, ExportError, NewFile, bundles, changed_tiles, made_since, tile};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::hand_over::LogKeys;
use crate::audit::layout::{CHECKPOINT, HISTORY_BITS, history_path};
use crate::audit::tree::TILE_WIDTH;
use crate::config::{BucketConfig, LockMode};
use crate::store::Store;

const LOCK_MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const LOCK_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
/// Largest object: a bundle of the longest entries is 16 MiB, a file of the history about 20.
const OBJECT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long one request may take.
const TIME_MAX: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Why a bucket is not used, or did not take something.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// A setting.
    #[error("audit.bucket.{0}")]
    Setting(String),
    /// No connection.
    #[error("object storage cannot be reached")]
    Unreachable(#[from] ConnectError),
    /// No whole answer.
    #[error("object storage did not answer")]
    Unanswered(#[from] SendError),
    /// It said no.
    #[error("object storage refused with status {0}")]
    Refused(StatusCode),
    /// What was written reads otherwise.
    #[error("an object reads otherwise than it was written")]
    ReadBack,
    /// The object is not held as long as was asked.
    #[error("the bucket does not lock what is written to it: object lock must be on when it is made")]
    Unlocked,
    /// The newest checkpoint was replaced meanwhile.
    #[error("another vault exported a checkpoint meanwhile")]
    Overtaken,
}

/// A bucket. Any number of replicas may hold one; whoever sequences writes.
pub struct LogBucket {
    pool: Pool,
    account: Account,
    /// `/bucket/` and the prefix.
    root: String,
    mode: LockMode,
    kept_for: Duration,
    clock: Arc<dyn Clock>,
}

/// The newest checkpoint of a bucket, and what names that version of it.
pub(in crate::audit) struct Newest {
    /// As it stands there: nobody's word until a key opens it.
    pub(in crate::audit) note: String,
    version: HeaderValue,
}

impl LogBucket {
    /// Reads key and roots; connects to nothing.
    pub fn open(config: &BucketConfig, clock: Arc<dyn Clock>) -> Result<Self, BucketError> {
        let wrong = |what: &str| BucketError::Setting(what.into());
        let authority = config.authority().map_err(BucketError::Setting)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let mut tls = anonymous_client_config(config.roots_file.as_deref())
            .map_err(|error| BucketError::Setting(format!("roots_file: {error}")))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let dialer = Dialer::new(
            host,
            authority.port_u16().unwrap_or(443),
            Admission::Any,
            Arc::new(SystemResolver),
            Arc::new(tls),
            TIME_MAX,
        );
        let secret = secret_file::read_line(&config.secret_access_key_file)
            .map_err(|error| BucketError::Setting(format!("secret_access_key_file: {error}")))?;
        let account = Account {
            host: HeaderValue::try_from(authority.as_str()).map_err(|_| wrong("endpoint: no host"))?,
            region: config.region.clone(),
            access_key_id: config.access_key_id.clone(),
            key: AwsSigningKey::new(&secret),
        };
        Ok(Self {
            pool: Pool::new(dialer.map_err(|_| wrong("endpoint: no host"))?),
            account,
            root: format!("/{}/{}", config.name, config.prefix),
            mode: config.retention.mode,
            kept_for: DAY.saturating_mul(config.retention.days),
            clock,
        })
    }

    /// The newest checkpoint there, if there is one.
    pub(in crate::audit) async fn newest(&self) -> Result<Option<Newest>, BucketError> {
        let answer = self.ask(&Method::GET, Path::new(CHECKPOINT), HeaderMap::new(), Bytes::new()).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let version = answer.headers.get(ETAG).cloned().ok_or(BucketError::ReadBack)?;
                Ok(Some(Newest { note: String::from_utf8_lossy(&answer.body).into_owned(), version }))
            }
            status => Err(BucketError::Refused(status)),
        }
    }

    /// Exports what is new since a tree of `from` entries, and then the checkpoint in the place of `newest`.
    pub(in crate::audit) async fn bring_up(
        &self,
        store: &dyn Store,
        newest: Option<&Newest>,
        from: u64,
        checkpoint: &Checkpoint,
        note: &str,
        keys: &LogKeys,
    ) -> Result<(), ExportError> {
        let width = TILE_WIDTH as u64;
        let mut at = from - from % width;
        while at < checkpoint.size {
            let end = (at + BUNDLES_AT_ONCE * width).min(checkpoint.size);
            self.keep(bundles(store, at, end).await?).await?;
            at = end;
        }
        for (id, hashes) in changed_tiles(from, checkpoint.size) {
            self.keep(vec![tile(store, id, hashes).await?]).await?;
        }
        for (path, hand_over) in made_since(keys, from, checkpoint.size) {
            self.put(&path, hand_over.into(), self.kept_for, HeaderMap::new()).await?;
        }
        let mut condition = HeaderMap::new();
        match newest {
            Some(newest) => condition.insert(IF_MATCH, newest.version.clone()),
            None => condition.insert(IF_NONE_MATCH, HeaderValue::from_static("*")),
        };
        Ok(self.put(Path::new(CHECKPOINT), note.to_owned().into(), self.kept_for, condition).await?)
    }

    async fn keep(&self, files: Vec<NewFile>) -> Result<(), ExportError> {
        for file in files {
            // A shorter form is of use until the full one is there: a day is enough where a log is in use.
            let kept_for = if file.instead_of.is_some() { self.kept_for } else { DAY.min(self.kept_for) };
            self.put(&file.path, file.bytes.into(), kept_for, HeaderMap::new()).await?;
        }
        Ok(())
    }

    /// Files of the history that have got all their checkpoints. Those of the last one are versions of `checkpoint`.
    ///
    /// After the checkpoint, as in a folder: a history that is ahead means that the newest was put back. What a process that
    /// ended in between left out is made up for: every file is written that is not there, beyond the first `known`. Gives how
    /// many there are.
    pub(in crate::audit) async fn keep_history(
        &self,
        store: &dyn Store,
        known: u64,
        size: u64,
    ) -> Result<u64, ExportError> {
        let complete = size >> HISTORY_BITS;
        let mut next = complete;
        // The oldest is written first: those before one that is there are there.
        while next > known && !self.has(&history_path((next - 1) << HISTORY_BITS)).await? {
            next -= 1;
        }
        for number in next..complete {
            let begin = number << HISTORY_BITS;
            let notes = store.checkpoints(begin, begin + (1 << HISTORY_BITS)).await?;
            let bytes: Vec<u8> = notes.iter().flat_map(|note| [note.as_bytes(), b"\n"].concat()).collect();
            self.put(&history_path(begin), bytes.into(), self.kept_for, HeaderMap::new()).await?;
        }
        Ok(complete)
    }

    async fn has(&self, path: &Path) -> Result<bool, BucketError> {
        match self.ask(&Method::HEAD, path, HeaderMap::new(), Bytes::new()).await?.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(BucketError::Refused(status)),
        }
    }

    /// Writes an object, reads it back, and sees that it is held.
    async fn put(
        &self,
        path: &Path,
        bytes: Bytes,
        kept_for: Duration,
        mut headers: HeaderMap,
    ) -> Result<(), BucketError> {
        let until = second(self.clock.now().plus(kept_for));
        headers.insert(LOCK_MODE, HeaderValue::from_static(self.mode.as_str()));
        headers.insert(LOCK_UNTIL, HeaderValue::try_from(&until).map_err(|_| BucketError::ReadBack)?);
        let is_conditional = headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH);
        let answer = self.ask(&Method::PUT, path, headers, bytes.clone()).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT if is_conditional => {
                return Err(BucketError::Overtaken);
            }
            status => return Err(BucketError::Refused(status)),
        }
        let back = self.ask(&Method::GET, path, HeaderMap::new(), Bytes::new()).await?;
        if back.status != StatusCode::OK || back.body != bytes {
            return Err(BucketError::ReadBack);
        }
        let said = |name: &HeaderName| back.headers.get(name).and_then(|value| value.to_str().ok());
        let is_mode = said(&LOCK_MODE) == Some(self.mode.as_str());
        // Both are UTC; how many digits a second has is the storage's to choose.
        let is_long =
            said(&LOCK_UNTIL).and_then(|text| text.get(..19)).is_some_and(|text| text >= &until[..19]);
        if is_mode && is_long { Ok(()) } else { Err(BucketError::Unlocked) }
    }

    async fn ask(
        &self,
        method: &Method,
        path: &Path,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, BucketError> {
        let path = format!("{}{}", self.root, path.display());
        let request = self.account.request(method, &path, headers, &body, self.clock.now());
        let mut request: Request<Full<Bytes>> =
            request.ok_or_else(|| BucketError::Setting("name or prefix: not a path".into()))?;
        let deadline = Instant::now() + TIME_MAX;
        let mut ready = self.pool.ready().await?;
        loop {
            match ready.send(request, deadline, OBJECT_BYTES_MAX).await {
                Ok(answer) => return Ok(answer),
                // It lay idle and was closed: nothing was sent, so a new connection is no second attempt.
                Err(SendError::NotSent(back)) if Instant::now() < deadline => request = *back,
                Err(error) => return Err(error.into()),
            }
            ready = self.pool.connect().await?;
        }
    }
}

/// RFC 3339 without a fraction.
fn second(time: Timestamp) -> String {
    format!("{}Z", time.to_string().get(..19).unwrap_or_default())
}
