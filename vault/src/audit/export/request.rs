//! Requests to object storage, signed (AWS Signature Version 4, path style).
//!
//! Promises: every header that says something about an object is covered by the signature, and so is its body.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};
use strongroom_domain::Timestamp;
use strongroom_sealing::AwsSigningKey;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const CHECKSUM_SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const CHECKSUM_KIND: HeaderName = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
const SERVICE: &str = "s3";

/// Who asks, and where.
pub(super) struct Account {
    pub(super) host: HeaderValue,
    pub(super) region: String,
    pub(super) access_key_id: String,
    pub(super) key: AwsSigningKey,
}

impl Account {
    /// A request for an object, signed. None if a setting makes no header.
    pub(super) fn request(
        &self,
        method: &Method,
        path: &str,
        mut headers: HeaderMap,
        body: &Bytes,
        now: Timestamp,
    ) -> Option<Request<Full<Bytes>>> {
        let digest: [u8; 32] = Sha256::digest(body).into();
        let (content, moment) = (hex::encode(digest), moment(now));
        headers.insert(HOST, self.host.clone());
        headers.insert(DATE, HeaderValue::try_from(&moment).ok()?);
        headers.insert(CONTENT_SHA256, HeaderValue::try_from(&content).ok()?);
        if *method == Method::PUT {
            headers.insert(CHECKSUM_SHA256, HeaderValue::try_from(STANDARD.encode(digest)).ok()?);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(CHECKSUM_KIND, HeaderValue::from_static("SHA256"));
        }
        let signature = self.signature(method, path, &headers, &content, &moment)?;
        headers.insert(AUTHORIZATION, HeaderValue::try_from(signature).ok()?);
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = path.parse().ok()?;
        *request.headers_mut() = headers;
        Some(request)
    }

    fn signature(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        content: &str,
        moment: &str,
    ) -> Option<String> {
        let mut named: Vec<(&str, &str)> = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            named.push((name.as_str(), value.to_str().ok()?));
        }
        named.sort_unstable();
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut canonical = format!("{method}\n{path}\n\n");
        for (name, value) in named {
            writeln!(canonical, "{name}:{}", value.trim()).ok()?;
        }
        write!(canonical, "\n{names}\n{content}").ok()?;
        let (day, region) = (moment.get(..8)?, &self.region);
        let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
        let digest = hex::encode(Sha256::digest(canonical));
        let signed =
            self.key.sign(day, region, SERVICE, &format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"));
        let id = &self.access_key_id;
        Some(format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signed}"))
    }
}

/// `20130524T000000Z`.
fn moment(now: Timestamp) -> String {
    let text: String = now.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{}Z", text.get(..15).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_the_provider_s_documentation_shows() {
        // "Authenticating Requests: Using the Authorization Header", example GET Object, with its published credentials.
        let account = Account {
            host: HeaderValue::from_static("examplebucket.s3.amazonaws.com"),
            region: "us-east-1".into(),
            access_key_id: ["AKIAIOSFODNN7", "EXAMPLE"].concat(),
            key: AwsSigningKey::new(&["wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "EXAMPLEKEY"].concat()),
        };
        let headers = HeaderMap::from_iter([(http::header::RANGE, HeaderValue::from_static("bytes=0-9"))]);
        let now = Timestamp::parse_rfc3339("2013-05-24T00:00:00Z").unwrap();
        let request = account.request(&Method::GET, "/test.txt", headers, &Bytes::new(), now).unwrap();
        let said = request.headers()[AUTHORIZATION].to_str().unwrap();
        assert!(
            said.ends_with(
                "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
                 Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
            "{said}"
        );
    }
}
