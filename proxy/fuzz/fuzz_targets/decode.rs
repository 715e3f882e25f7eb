//! Any bytes as any content encoding: no panic, never more than the bound.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strongroom_proxy::scrub::decode;

const BYTES_MAX: usize = 64 * 1024;

fuzz_target!(|body: &[u8]| {
    for encoding in ["gzip", "deflate", "br", "zstd", "identity"] {
        if let Ok(decoded) = decode(Some(encoding), Bytes::copy_from_slice(body), BYTES_MAX) {
            assert!(decoded.len() <= BYTES_MAX, "{encoding}");
        }
    }
});
