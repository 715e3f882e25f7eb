//! Undoing the content encoding of an answer.
//!
//! Promises: never more than the allowed bytes are held, and a window of at most 16 MiB, whatever a few compressed ones
//! expand to. What is cut short, has a wrong checksum or something after its end is refused.
//! Upholds: C-40.

use std::io::{self, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

/// Why an answer cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// An encoding other than identity, gzip, deflate, br and zstd, or several.
    #[error("the content encoding is not one of identity, gzip, deflate, br and zstd")]
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
        "gzip" | "x-gzip" | "deflate" | "br" | "zstd" if body.is_empty() => Ok(body),
        "gzip" | "x-gzip" => inflate(MultiGzDecoder::new(&body[..]), max),
        "deflate" => match inflate(ZlibDecoder::new(&body[..]), max) {
            Err(DecodeError::Malformed) => inflate(DeflateDecoder::new(&body[..]), max),
            decoded => decoded,
        },
        "br" => brotli(&body, max),
        "zstd" => zstd(&body, max),
        _ => Err(DecodeError::Unsupported),
    }
}

/// What brotli writes at a time.
const BROTLI_CHUNK_BYTES: usize = 16 * 1024;

/// Strict: the windows of RFC 7932, at most 16 MiB, not those of its extension, up to 1 GiB.
fn brotli(body: &[u8], max: usize) -> Result<Bytes, DecodeError> {
    let memory = StandardAlloc::default();
    let mut state = BrotliState::new_strict(memory, memory, memory);
    let (mut left, mut read, mut total) = (body.len(), 0, 0);
    let (mut out, mut chunk) = (Vec::new(), vec![0; BROTLI_CHUNK_BYTES]);
    loop {
        let (mut room, mut written) = (chunk.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            body,
            &mut room,
            &mut written,
            &mut chunk,
            &mut total,
            &mut state,
        );
        if out.len() + written > max {
            return Err(DecodeError::TooLarge);
        }
        out.extend_from_slice(&chunk[..written]);
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if left == 0 => return Ok(out.into()),
            BrotliResult::ResultSuccess | BrotliResult::ResultFailure | BrotliResult::NeedsMoreInput => {
                return Err(DecodeError::Malformed);
            }
        }
    }
}

/// Largest window of zstd as a content encoding (RFC 9659).
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;

/// Frame by frame (RFC 8878 §3.1): the decoder stops after each.
fn zstd(body: &[u8], max: usize) -> Result<Bytes, DecodeError> {
    let mut rest = body;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let mut decoder = StreamingDecoder::new_with_max_window_size(&mut rest, ZSTD_WINDOW_BYTES_MAX)
            .map_err(|_| DecodeError::Malformed)?;
        let bound = u64::try_from(max - out.len()).unwrap_or(u64::MAX).saturating_add(1);
        (&mut decoder).take(bound).read_to_end(&mut out).map_err(|_| DecodeError::Malformed)?;
        if out.len() > max {
            return Err(DecodeError::TooLarge);
        }
        let frame = decoder.into_frame_decoder();
        let stated = frame.get_checksum_from_data();
        if !frame.is_finished() || (stated.is_some() && stated != frame.get_calculated_checksum()) {
            return Err(DecodeError::Malformed);
        }
    }
    Ok(out.into())
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

    /// `{"id":"pm_1"}` fifty times, and 64 MiB of zeros, by the reference encoder at its best.
    const BROTLI_BODY: &str = "1b8902f81d09368e7c2d8c3a90ac4562bef6561a5ceb90b5f58902a3816f1c61cb";
    const BROTLI_BOMB: &str = concat!(
        "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500baf7",
        "7ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bdffcbffff3ffc1300715800a07b",
        "ff07"
    );

    fn encoded(encoding: &str, body: &[u8]) -> Bytes {
        let level = Compression::best();
        let mut out = Vec::new();
        match encoding {
            "gzip" => GzEncoder::new(&mut out, level).write_all(body),
            "zlib" => ZlibEncoder::new(&mut out, level).write_all(body),
            "raw" => DeflateEncoder::new(&mut out, level).write_all(body),
            "zstd" => {
                ruzstd::encoding::compress(body, &mut out, ruzstd::encoding::CompressionLevel::Fastest);
                Ok(())
            }
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
            ("zstd", Some("zstd")),
        ] {
            let decoded = decode(name, encoded(how, &body), body.len());
            assert_eq!(decoded.as_deref(), Ok(&body[..]), "{how} {name:?}");
            let short = decode(name, encoded(how, &body), body.len() - 1);
            assert_eq!(short, Err(DecodeError::TooLarge), "{how} {name:?}");
        }
        for encoding in ["gzip", "zstd"] {
            let two = [encoded(encoding, b"one,"), encoded(encoding, b"two")].concat();
            assert_eq!(decode(Some(encoding), two.into(), 100).as_deref(), Ok(&b"one,two"[..]));
        }
        let brotli = Bytes::from(hex::decode(BROTLI_BODY).unwrap());
        assert_eq!(decode(Some("BR"), brotli.clone(), body.len()).as_deref(), Ok(&body[..]));
        assert_eq!(decode(Some("br"), brotli, body.len() - 1), Err(DecodeError::TooLarge));
        assert_eq!(decode(Some("gzip"), Bytes::new(), 0), Ok(Bytes::new()));
    }

    #[test]
    fn other_encodings_and_broken_bodies_are_refused() {
        for name in
            ["compress", "br, gzip", "zstd,zstd", "gzip, gzip", "gzip,deflate", "identity, gzip", "chunked"]
        {
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
        let brotli = Bytes::from(hex::decode(BROTLI_BODY).unwrap());
        let zstd = encoded("zstd", b"some text");
        for (encoding, whole) in [("br", brotli), ("zstd", zstd)] {
            assert!(decode(Some(encoding), whole.clone(), 1_000).is_ok(), "{encoding}");
            let longer = Bytes::from([&whole[..], b"more"].concat());
            for broken in
                [whole.slice(..whole.len() - 1), whole.slice(1..), longer, Bytes::from_static(b"plain")]
            {
                assert_eq!(decode(Some(encoding), broken, 1_000), Err(DecodeError::Malformed), "{encoding}");
            }
        }
        // A frame whose window would be 1 GiB.
        let wide = Bytes::from_static(b"\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00");
        assert_eq!(decode(Some("zstd"), wide, 1_000), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let bomb = encoded("gzip", &vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 17);
        assert_eq!(decode(Some("gzip"), bomb, 1 << 20), Err(DecodeError::TooLarge));
        let bomb = encoded("zstd", &vec![0; 8 << 20]);
        assert!(bomb.len() < 1 << 12);
        assert_eq!(decode(Some("zstd"), bomb, 1 << 20), Err(DecodeError::TooLarge));
        let bomb = hex::decode(BROTLI_BOMB).unwrap();
        assert!(bomb.len() < 1 << 8);
        assert_eq!(decode(Some("br"), bomb.into(), 1 << 20), Err(DecodeError::TooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            for name in ["gzip", "deflate", "br", "zstd", "identity"] {
                let _ = decode(Some(name), body.clone().into(), 64);
            }
        }
    }
}
