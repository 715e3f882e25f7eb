//! Inbound entries: messages of others that hold card numbers, tokenized on their way to the platform.
//!
//! One TOML file per sender under `policies/inbound/`, read by the proxy.
//!
//! Promises: an entry that exists names one tenant, one place on the platform and the places of card data; it says how its
//! sender is known, or in words why it is not; it says what makes two deliveries one message.
//! Upholds: C-53.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use super::{InjectTable, InvalidRoute, parse_upstream, path};
use crate::ids::WorkloadId;
use crate::route::{
    AllowedCall, Attribute, BodyFormat, HmacSigning, Inject, JsonForm, Part, RouteName, Signing, Source,
    lies_inside, places,
};
use crate::tenant::TenantId;

/// One sender's messages and where they go.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Its name: the file's.
    pub name: RouteName,
    /// Whose cards come in.
    pub tenant: TenantId,
    /// The path on the inbound listener and how the body is read. The places are those of card data, then those of
    /// [`Self::others`].
    pub call: AllowedCall,
    /// What the places after those of card data are, in order.
    pub others: Vec<OtherPlace>,
    /// Who sends.
    pub sender: Sender,
    /// Where messages go.
    pub platform: Platform,
    /// Headers that travel on, lower case.
    pub pass_headers: BTreeSet<String>,
}

/// A place that is looked at and holds no card data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherPlace {
    /// What makes two deliveries one message.
    MessageId,
    /// A reference: its digits are not taken for a card number.
    Reference,
}

/// How a sender is known.
#[derive(Clone, Debug)]
pub enum Sender {
    /// By its signature.
    Signed(Verification),
    /// By its client certificate, which the listener has verified.
    Certificate(BTreeSet<WorkloadId>),
    /// Not at all: a form that browsers post. The text says why that is right.
    Anyone(String),
}

/// How a sender's signature is verified.
#[derive(Clone, Debug)]
pub struct Verification {
    /// What is signed and where the signature stands.
    pub signing: HmacSigning,
    /// Files of the secrets shared with the sender: one, or two while it changes.
    pub secret_files: Vec<PathBuf>,
    /// How old a message may be.
    pub timestamp: Option<TimestampHeader>,
}

/// A header that says when a message was signed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampHeader {
    /// Its name.
    pub header: String,
    /// Seconds it may differ from our clock, either way.
    pub tolerance_s: u32,
    /// What it counts since 1970.
    #[serde(default)]
    pub unit: TimeUnit,
}

/// What a timestamp counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds.
    #[default]
    Seconds,
    /// Thousandths.
    Milliseconds,
}

/// The one place messages of an entry go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// Host name or address, lower case.
    pub host: String,
    /// Port, 443 unless written.
    pub port: u16,
    /// Path, beginning with `/`.
    pub path: String,
    /// Only these certificates are trusted there, relative to the entry's folder.
    pub roots_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InboundFile {
    inbound: BTreeMap<String, InboundTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InboundTable {
    tenant: String,
    path: String,
    body: BodyFormat,
    namespace: Option<String>,
    take: Vec<InjectTable>,
    message_id: String,
    #[serde(default)]
    ids: BTreeSet<String>,
    verify: Option<VerifyTable>,
    #[serde(default)]
    certificates: BTreeSet<WorkloadId>,
    unsigned: Option<String>,
    platform: String,
    roots_file: Option<PathBuf>,
    #[serde(default)]
    pass_headers: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyTable {
    secret_files: Vec<PathBuf>,
    timestamp: Option<TimestampHeader>,
    sign: HmacSigning,
}

/// Secrets at once: the one in use and the one that comes or goes.
const SECRETS_MAX: usize = 2;
/// Longest a message may be under way: an hour is more than any sender's own retries under one signature.
const TOLERANCE_S_MAX: u32 = 3_600;
/// Headers that say how the body is read, or belong to a hop.
const OWN_HEADERS: [&str; 8] = [
    "host",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "authorization",
    "cookie",
];
/// What stands in names of headers that are made of the body. Of a number whose first and last digits the platform knows, a digest
/// is the number; so is a signature to whoever has the secret.
const MADE_OF_THE_BODY: [&str; 8] = ["digest", "sha1", "sha2", "sha-", "md5", "hash", "hmac", "sign"];

impl Inbound {
    /// Parses one file. The file's name (without ending) must be the entry's.
    pub fn parse(file_stem: &str, text: &str) -> Result<Self, InvalidRoute> {
        let mut file: InboundFile = toml::from_str(text)?;
        let invalid = |reason: String| InvalidRoute::Value { route: file_stem.to_owned(), reason };
        let table = file.inbound.remove(file_stem).filter(|_| file.inbound.is_empty());
        let table =
            table.ok_or_else(|| invalid(format!("the file holds one table, `[inbound.{file_stem}]`")))?;
        let name = RouteName::parse(file_stem)
            .ok_or_else(|| invalid("its name is not lower-case letters, digits and hyphens".into()))?;
        table.into_entry(name).map_err(invalid)
    }
}

impl InboundTable {
    fn into_entry(mut self, name: RouteName) -> Result<Inbound, String> {
        let tenant = TenantId::parse(&self.tenant).map_err(|_| "`tenant` is no tenant's name".to_owned())?;
        let sender = self.sender()?;
        let platform = platform(&self.platform, self.roots_file.take())?;
        let pass_headers = pass_headers(&self.pass_headers)?;
        let inject = self.take.into_iter().map(InjectTable::into_inject).collect::<Result<Vec<_>, _>>()?;
        let mut call = AllowedCall {
            method: "POST".to_owned(),
            path: path(&self.path).ok().filter(|_| !self.path.contains('{')).ok_or("`path` is no path")?,
            body: self.body,
            namespace: self.namespace,
            inject,
            encryption: None,
            once: None,
            ids: BTreeSet::new(),
            cvc_fields: BTreeSet::new(),
        };
        if let Sender::Signed(verification) = &sender {
            verification.covers(&self.message_id, &pass_headers, self.body)?;
        }
        check_card_places(&call)?;
        let mut others = vec![OtherPlace::MessageId];
        call.inject.push(other_place(&self.message_id));
        for id in &self.ids {
            others.push(OtherPlace::Reference);
            call.inject.push(other_place(id));
        }
        match places::faults(&call).into_iter().next() {
            Some(fault) => Err(fault.reason),
            None => Ok(Inbound { name, tenant, call, others, sender, platform, pass_headers }),
        }
    }

    fn sender(&mut self) -> Result<Sender, String> {
        let certificates = std::mem::take(&mut self.certificates);
        match (self.verify.take(), certificates.is_empty(), self.unsigned.take()) {
            (Some(verify), true, None) => verify.into_verification().map(Sender::Signed),
            (None, false, None) => Ok(Sender::Certificate(certificates)),
            (None, true, Some(why)) if why.trim().len() >= 10 => Ok(Sender::Anyone(why)),
            _ => Err("say how the sender is known: one of `verify`, `certificates`, or `unsigned` with the reason \
                      why nobody can be"
                .into()),
        }
    }
}

impl Verification {
    /// Whether nothing the platform acts on can be changed beside the signature: not what names the message, not a header.
    fn covers(
        &self,
        message_id: &str,
        pass_headers: &BTreeSet<String>,
        body: BodyFormat,
    ) -> Result<(), String> {
        let is_signed = |name: &str| self.signing.parts.contains(&Part::Header(name.to_owned()));
        if pass_headers.contains(&self.signing.header) {
            return Err("`pass_headers`: the signature is made of the card number too, and stays here".into());
        }
        // What parts a multipart body is told by its content type: another one makes another message of the same bytes.
        if body == BodyFormat::Multipart && !is_signed("content-type") {
            return Err(
                "`verify`: a multipart body is read by its content type, so that has to be among `parts`"
                    .into(),
            );
        }
        let named = message_id.strip_prefix(crate::route::HEADER_PREFIX).map(super::header).transpose()?;
        match named.iter().chain(pass_headers).find(|name| !is_signed(name)) {
            Some(name) => Err(format!("`verify`: `{name}` travels on, so it has to be among `parts`")),
            None => Ok(()),
        }
    }
}

impl VerifyTable {
    fn into_verification(self) -> Result<Verification, String> {
        let mut signing = Signing::Hmac(self.sign);
        signing.check()?;
        let Signing::Hmac(signing) = signing else { return Err("`sign` is no hmac".into()) };
        if signing.minify {
            return Err("`verify`: a sender signs what it sends; `minify` is for what we send".into());
        }
        if self.secret_files.is_empty()
            || self.secret_files.len() > SECRETS_MAX
            || !self.secret_files.iter().all(|file| lies_inside(file))
        {
            return Err("`verify`: `secret_files` names one or two files inside the secrets folder".into());
        }
        let timestamp = self.timestamp.map(|mut timestamp| {
            timestamp.header = super::header(&timestamp.header)?;
            let is_covered = signing.parts.contains(&Part::Header(timestamp.header.clone()));
            if is_covered && (1..=TOLERANCE_S_MAX).contains(&timestamp.tolerance_s) {
                Ok(timestamp)
            } else {
                Err("`verify`: `timestamp` names a header among `parts`, and tolerates 1 to 3600 seconds"
                    .to_owned())
            }
        });
        Ok(Verification { signing, secret_files: self.secret_files, timestamp: timestamp.transpose()? })
    }
}

/// Card data stands in the body; whatever is no number says whose it is.
fn check_card_places(call: &AllowedCall) -> Result<(), String> {
    for place in &call.inject {
        if place.header().is_some() {
            return Err(format!("`{}`: card data is taken from bodies only", place.at));
        }
        if place.attribute != Attribute::Number && place.source == Source::Own {
            return Err(format!("`{}` says by `from` whose it is", place.at));
        }
        if !place.aliases.is_empty() {
            return Err(format!("`{}`: `aliases` are for tokens that leave", place.at));
        }
    }
    places::faults(call).into_iter().next().map_or(Ok(()), |fault| Err(fault.reason))
}

fn other_place(at: &str) -> Inject {
    Inject {
        at: at.to_owned(),
        attribute: Attribute::Cvc,
        format: None,
        json_form: JsonForm::String,
        source: Source::Own,
        aliases: Vec::new(),
    }
}

fn platform(text: &str, roots_file: Option<PathBuf>) -> Result<Platform, String> {
    let wrong = || "`platform` is https://HOST/PATH or https://HOST:PORT/PATH, without query".to_owned();
    let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
    let at = rest.find('/').ok_or_else(wrong)?;
    let (host, port) = parse_upstream(&format!("https://{}", &rest[..at])).map_err(|_| wrong())?;
    let right = rest[at..].bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte));
    if right { Ok(Platform { host, port, path: rest[at..].to_owned(), roots_file }) } else { Err(wrong()) }
}

fn pass_headers(names: &BTreeSet<String>) -> Result<BTreeSet<String>, String> {
    names
        .iter()
        .map(|name| {
            let name = super::header(name)?;
            if OWN_HEADERS.contains(&name.as_str()) {
                return Err(format!("`pass_headers`: `{name}` is the proxy's own to set, or a credential"));
            }
            if MADE_OF_THE_BODY.iter().any(|part| name.contains(part)) {
                return Err(format!(
                    "`pass_headers`: `{name}` is made of the card number too, and stays here"
                ));
            }
            Ok(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
[inbound.acquirer]
tenant = "acme"
path = "/acquirer/cards"
body = "json"
take = [
    { at = "/number", value = "number" },
    { at = "/cvc", value = "cvc", from = "/number" },
    { at = "/exp", value = "exp", format = "MM/YY", from = "/number" },
]
message_id = "header:x-event-id"
ids = ["/reference"]
platform = "https://platform.internal:8443/hooks"
pass_headers = ["X-Kind"]
[inbound.acquirer.verify]
secret_files = ["acquirer.secret"]
timestamp = { header = "X-Time", tolerance_s = 300 }
sign = { parts = ["header:X-Time", "header:X-Event-Id", "header:X-Kind", "body"], output = "hex", header = "X-Signature" }
"#;

    #[test]
    fn an_entry_says_who_sends_what_and_where_it_goes() {
        let entry = Inbound::parse("acquirer", ENTRY).unwrap();
        assert_eq!((entry.tenant.as_str(), entry.call.path.as_str()), ("acme", "/acquirer/cards"));
        assert_eq!(entry.others, [OtherPlace::MessageId, OtherPlace::Reference]);
        assert_eq!(entry.call.inject.len(), 5);
        let Platform { host, port, path, roots_file } = &entry.platform;
        assert_eq!(
            (host.as_str(), *port, path.as_str(), roots_file),
            ("platform.internal", 8443, "/hooks", &None)
        );
        assert!(entry.pass_headers.contains("x-kind"));
        assert!(matches!(entry.sender, Sender::Signed(Verification { timestamp: Some(_), .. })));
        assert!(Inbound::parse("other", ENTRY).is_err());
    }

    #[test]
    fn an_entry_that_says_too_little_or_two_things_is_refused() {
        for (from, to, says) in [
            ("tenant = \"acme\"", "tenant = \"ACME\"", "`tenant`"),
            ("path = \"/acquirer/cards\"", "path = \"/acquirer/{id}\"", "`path`"),
            ("path = \"/acquirer/cards\"", "path = \"acquirer\"", "`path`"),
            ("\"/number\", value = \"number\"", "\"number\", value = \"number\"", "can never match"),
            ("\"/number\", value = \"number\"", "\"header:x-card\", value = \"number\"", "from bodies only"),
            (", format = \"MM/YY\", from = \"/number\"", ", format = \"MM/YY\"", "by `from`"),
            (
                "from = \"/number\" },\n    { at = \"/exp",
                "from = \"/pan\" },\n    { at = \"/exp",
                "no declared number",
            ),
            ("message_id = \"header:x-event-id\"", "message_id = \"id\"", "can never match"),
            ("ids = [\"/reference\"]", "ids = [\"/number\"]", "declared twice"),
            ("https://platform.internal:8443/hooks", "http://platform.internal/hooks", "`platform`"),
            ("https://platform.internal:8443/hooks", "https://platform.internal", "`platform`"),
            ("https://platform.internal:8443/hooks", "https://u@platform.internal/hooks", "`platform`"),
            ("https://platform.internal:8443/hooks", "https://platform.internal/hooks?a=1", "`platform`"),
            ("pass_headers = [\"X-Kind\"]", "pass_headers = [\"Authorization\"]", "`pass_headers`"),
            ("pass_headers = [\"X-Kind\"]", "unsigned = \"nobody can sign here\"", "how the sender is known"),
            ("pass_headers = [\"X-Kind\"]", "certificates = [\"spiffe://a/b\"]", "how the sender is known"),
            ("[\"acquirer.secret\"]", "[]", "one or two files"),
            ("[\"acquirer.secret\"]", "[\"../acquirer.secret\"]", "one or two files"),
            ("tolerance_s = 300", "tolerance_s = 0", "`timestamp`"),
            ("tolerance_s = 300", "tolerance_s = 90000", "`timestamp`"),
            ("header = \"X-Time\"", "header = \"X-Other\"", "`timestamp`"),
            ("\"header:X-Kind\", \"body\"", "\"header:X-Kind\"", "do not hold the body"),
            ("\"header:X-Kind\", ", "", "`x-kind` travels on"),
            ("\"header:X-Event-Id\", ", "", "`x-event-id` travels on"),
            ("[\"X-Kind\"]", "[\"X-Signature\"]", "stays here"),
            ("[\"X-Kind\"]", "[\"Content-Digest\"]", "made of the card number"),
            ("[\"X-Kind\"]", "[\"X-Content-SHA256\"]", "made of the card number"),
            ("body = \"json\"", "body = \"multipart\"", "content type"),
            ("output = \"hex\",", "output = \"hex\", minify = true,", "`minify`"),
            ("tenant =", "surprise = 1\ntenant =", "unknown field"),
        ] {
            assert!(ENTRY.contains(from), "{from}");
            let error = Inbound::parse("acquirer", &ENTRY.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(says), "{to}: {error}");
        }
        let start = ENTRY.find("[inbound.acquirer.verify]").unwrap();
        let error = Inbound::parse("acquirer", &ENTRY[..start]).unwrap_err();
        assert!(error.to_string().contains("how the sender is known"), "{error}");
        let short = format!("{}unsigned = \"so\"\n", &ENTRY[..start]);
        assert!(Inbound::parse("acquirer", &short).is_err(), "a reason is a sentence");
        let hub = format!("{}unsigned = \"an old page posts this\"\n", &ENTRY[..start]);
        let hub = hub.replace("X-Kind", "X-Hub-Signature-256");
        assert!(
            Inbound::parse("acquirer", &hub).unwrap_err().to_string().contains("made of the card number")
        );
        let reasoned = format!("{}unsigned = \"an old page posts this\"\n", &ENTRY[..start]);
        assert!(matches!(Inbound::parse("acquirer", &reasoned).unwrap().sender, Sender::Anyone(_)));
    }
}
