//! Undoing the content encoding of an answer.
//!
//! Promises: never more than the allowed bytes are held, whatever a few compressed ones expand to.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Why an answer cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// An encoding other than identity, gzip and deflate, or several.
    #[error("the content encoding is not one of identity, gzip and deflate")]
    Unsupported,
    /// More bytes than allowed come out.
    #[error("the decoded body is too large")]
    TooLarge,
    /// Not what the header says.
    #[error("the body is not what its content encoding says")]
    Malformed,
}

/// Undoes a content encoding (RFC 9110 §8.4): at most `max` bytes come out. `deflate` is taken as the standard says
/// (zlib) and as some servers send it (raw). Several encodings on top of each other are refused.
pub fn decode(encoding: Option<&str>, body: Bytes, max: usize) -> Result<Bytes, DecodeError> {
    let encoding = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" if body.len() <= max => Ok(body),
        "" | "identity" => Err(DecodeError::TooLarge),
        // An answer without a body (to HEAD, or 204) may still name an encoding.
        "gzip" | "x-gzip" | "deflate" if body.is_empty() => Ok(body),
        "gzip" | "x-gzip" => inflate(MultiGzDecoder::new(&body[..]), max),
        "deflate" => match inflate(ZlibDecoder::new(&body[..]), max) {
            Err(DecodeError::Malformed) => inflate(DeflateDecoder::new(&body[..]), max),
            decoded => decoded,
        },
        _ => Err(DecodeError::Unsupported),
    }
}

fn inflate(decoder: impl Read, max: usize) -> Result<Bytes, DecodeError> {
    let mut out = Vec::new();
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bound).read_to_end(&mut out).map_err(|_: io::Error| DecodeError::Malformed)?;
    if out.len() > max { Err(DecodeError::TooLarge) } else { Ok(out.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn encoded(encoding: &str, body: &[u8]) -> Bytes {
        let level = Compression::best();
        let mut out = Vec::new();
        match encoding {
            "gzip" => GzEncoder::new(&mut out, level).write_all(body),
            "zlib" => ZlibEncoder::new(&mut out, level).write_all(body),
            "raw" => DeflateEncoder::new(&mut out, level).write_all(body),
            _ => out.write_all(body),
        }
        .unwrap();
        out.into()
    }

    #[test]
    fn every_encoding_gives_the_same_body() {
        let body = b"{\"id\":\"pm_1\"}".repeat(50);
        for (how, name) in [
            ("none", None),
            ("none", Some("")),
            ("none", Some("identity")),
            ("gzip", Some("gzip")),
            ("gzip", Some(" GZIP ")),
            ("gzip", Some("x-gzip")),
            ("zlib", Some("deflate")),
            ("raw", Some("deflate")),
        ] {
            let decoded = decode(name, encoded(how, &body), body.len());
            assert_eq!(decoded.as_deref(), Ok(&body[..]), "{how} {name:?}");
            let short = decode(name, encoded(how, &body), body.len() - 1);
            assert_eq!(short, Err(DecodeError::TooLarge), "{how} {name:?}");
        }
        let two = [encoded("gzip", b"one,"), encoded("gzip", b"two")].concat();
        assert_eq!(decode(Some("gzip"), two.into(), 100).as_deref(), Ok(&b"one,two"[..]));
        assert_eq!(decode(Some("gzip"), Bytes::new(), 0), Ok(Bytes::new()));
    }

    #[test]
    fn other_encodings_and_broken_bodies_are_refused() {
        for name in ["br", "zstd", "compress", "gzip, gzip", "gzip,deflate", "identity, gzip", "chunked"] {
            assert_eq!(
                decode(Some(name), encoded("gzip", b"x"), 100),
                Err(DecodeError::Unsupported),
                "{name}"
            );
        }
        let whole = encoded("gzip", b"some text");
        for broken in [whole.slice(..whole.len() - 1), whole.slice(1..), Bytes::from_static(b"plain")] {
            assert_eq!(decode(Some("gzip"), broken, 100), Err(DecodeError::Malformed));
        }
        assert_eq!(decode(Some("deflate"), Bytes::from_static(b"\xff\xff"), 9), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let bomb = encoded("gzip", &vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 17);
        assert_eq!(decode(Some("gzip"), bomb, 1 << 20), Err(DecodeError::TooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            for name in ["gzip", "deflate", "identity"] {
                let _ = decode(Some(name), body.clone().into(), 64);
            }
        }
    }
}
