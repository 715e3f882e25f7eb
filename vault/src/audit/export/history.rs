//! The history of a folder: every checkpoint that was kept, in files that grow at their end.
//!
//! Promises: what an export that was interrupted left out, and what another replica signed meanwhile, is made up for; half a
//! checkpoint at the end of a file, as a process that died writes it, is taken away first.
//! Does not promise: that what stood there before is sound: it is left for whoever verifies.
//! Upholds: C-44, C-57.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::sync::PoisonError;

use super::{ExportError, LogFolder, blocking, make_parent};
use crate::audit::checkpoint::{Checkpoint, NOTE_BYTES_MAX};
use crate::audit::layout::{HISTORY_BITS, history_path, whole_notes};
use crate::store::Store;

impl LogFolder {
    /// Adds what the history lacks, after the newest checkpoint is there: a history that is ahead means that the newest was put
    /// back.
    pub(super) async fn remember(&self, store: &dyn Store, newest: u64) -> Result<(), ExportError> {
        let known = *self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match known {
            Some(known) => Some(known),
            None => self.last_remembered(newest).await?,
        };
        let mut from = known.map_or(0, |size| size.saturating_add(1));
        while from <= newest {
            let until = (((from >> HISTORY_BITS) + 1) << HISTORY_BITS).min(newest + 1);
            let notes = store.checkpoints(from, until).await?;
            let text: String = notes.iter().flat_map(|note| [note.as_str(), "\n"]).collect();
            let folder = self.clone();
            blocking(move || if text.is_empty() { Ok(()) } else { folder.append(from, &text) }).await?;
            from = until;
        }
        *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = known.max(Some(newest));
        Ok(())
    }

    fn append(&self, size: u64, text: &str) -> Result<(), ExportError> {
        let path = self.path.join(history_path(size));
        make_parent(&path)?;
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(text.as_bytes())?;
        Ok(file.sync_all()?)
    }

    /// Looks for the newest file of the history that is there.
    async fn last_remembered(&self, newest: u64) -> Result<Option<u64>, ExportError> {
        let folder = self.clone();
        let look = move || {
            let files = (0..=newest >> HISTORY_BITS).rev();
            files.map(|number| folder.end_of(number)).find_map(Result::transpose).transpose()
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|_| Err(ExportError::Folder(io::Error::other("reading ended with a defect"))))
    }

    /// The size of the last whole checkpoint of a file. None if it has none.
    fn end_of(&self, number: u64) -> Result<Option<u64>, ExportError> {
        let path = self.path.join(history_path(number << HISTORY_BITS));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let (notes, rest) = whole_notes(text);
        let whole = text.len() - rest.len();
        if (1..NOTE_BYTES_MAX).contains(&(bytes.len() - whole)) {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(whole as u64)?;
            file.sync_all()?;
        }
        Ok(notes.last().and_then(|note| Checkpoint::unverified(note)).map(|checkpoint| checkpoint.size))
    }
}
