//! An age file that is made piece by piece: plaintext in, ciphertext out as it comes to be.
//!
//! Promises: memory for one chunk of the format and for what was not taken yet. Without [`Encrypting::finish`] the file has no
//! last chunk, and no identity opens it to its end.
//! Does not promise: chance as an argument. The file key and nonce are drawn by the age crate from the operating system.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// One age file being made.
pub(super) struct Encrypting {
    writer: StreamWriter<Sink>,
    made: Sink,
    file: Digest,
}

/// SHA-256 and length of bytes that went by.
#[derive(Clone, Default)]
pub(super) struct Digest {
    sha256: Sha256,
    bytes: u64,
}

/// What was written and nobody took yet.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Encrypting {
    /// A file that only this recipient's identity opens.
    pub(super) fn to(recipient: &age::x25519::Recipient) -> io::Result<Self> {
        let recipients = std::iter::once(recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let made = Sink::default();
        let writer = encryptor.wrap_output(made.clone())?;
        Ok(Self { writer, made, file: Digest::default() })
    }

    /// Encrypts some more.
    pub(super) fn write(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.writer.write_all(plaintext)
    }

    /// The ciphertext so far, less what was taken before. Empty while a chunk fills.
    pub(super) fn take(&mut self) -> Bytes {
        self.file.piece(self.made.take())
    }

    /// The last ciphertext, and what the whole file is.
    pub(super) fn finish(mut self) -> io::Result<(Bytes, Digest)> {
        self.writer.finish()?;
        let last = self.file.piece(self.made.take());
        Ok((last, self.file))
    }
}

impl Digest {
    /// Counts and digests.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn piece(&mut self, bytes: Vec<u8>) -> Bytes {
        self.update(&bytes);
        bytes.into()
    }

    /// How many bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their SHA-256.
    pub(super) fn sha256(&self) -> [u8; 32] {
        self.sha256.clone().finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_file_opens_with_its_identity_alone_and_only_when_it_is_whole() {
        let (identity, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let mut out = Encrypting::to(&identity.to_public()).unwrap();
        let (mut file, line) = (Vec::new(), b"a line of a file\n");
        let mut most = 0;
        for _ in 0..20_000 {
            out.write(line).unwrap();
            let piece = out.take();
            most = most.max(piece.len());
            file.extend_from_slice(&piece);
        }
        assert!(most <= 64 * 1024 + 512, "a chunk at a time: {most}");
        let cut = file.clone();
        let (last, digest) = out.finish().unwrap();
        file.extend_from_slice(&last);
        assert_eq!(digest.bytes(), file.len() as u64);
        assert_eq!(digest.sha256(), <[u8; 32]>::from(Sha256::digest(&file)));
        let open = |file: &[u8], identity: &age::x25519::Identity| {
            let mut plaintext = Vec::new();
            let decryptor = age::Decryptor::new(file).unwrap();
            let mut reader = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).ok()?;
            reader.read_to_end(&mut plaintext).ok().map(|_| plaintext)
        };
        assert_eq!(open(&file, &identity), Some(line.repeat(20_000)));
        assert_eq!(open(&file, &other), None);
        assert_eq!(open(&cut, &identity), None, "a cut file is no file");
    }
}
