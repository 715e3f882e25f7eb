//! The bytes of an entry: RFC 8785 JSON, numbered, under the instance's MAC.
//!
//! Promises: equal entries are equal bytes. The MAC covers every other byte of the leaf.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use strongroom_domain::{BootId, Timestamp, TokenRef};
use subtle::ConstantTimeEq;

use super::entry::{
    Actor, CardChange, Destination, Draft, ExportRef, InstanceId, KeyRef, Object, Pol, Req, Source,
};
use super::finding::FindingRef;
use super::suspension::SuspensionRef;
use super::wire;

/// Version of the entry format (`v`).
const FORMAT: u32 = 1;

/// Where an entry stands: its boot and its number there. Written `boot/seq`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId {
    /// The start of the instance that wrote it.
    pub boot: BootId,
    /// Its number there, from 0 without a gap.
    pub seq: u64,
}

impl EntryId {
    /// Reads `boot/seq`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (boot, number) = text.split_once('/')?;
        let seq: u64 = number.parse().ok()?;
        (seq.to_string() == number).then_some(Self { boot: BootId::parse(boot)?, seq })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.boot, self.seq)
    }
}

/// The MAC of one boot: a function of the bytes, so that no key passes through here.
#[derive(Clone)]
pub struct EntryMac(Arc<MacFunction>);

/// HMAC under a key this module never sees.
type MacFunction = dyn Fn(&[u8]) -> [u8; 32] + Send + Sync;

impl EntryMac {
    /// From the function that holds the key.
    pub fn new(mac: impl Fn(&[u8]) -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self(Arc::new(mac))
    }

    fn of(&self, bytes: &[u8]) -> [u8; 32] {
        (self.0)(bytes)
    }
}

impl From<strongroom_sealing::InstanceMac> for EntryMac {
    fn from(mac: strongroom_sealing::InstanceMac) -> Self {
        Self::new(move |bytes| mac.mac(bytes))
    }
}

impl fmt::Debug for EntryMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntryMac(..)")
    }
}

/// One entry's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf(Vec<u8>);

/// Not the bytes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLeaf {
    /// Not RFC 8785 JSON of an object.
    #[error("leaf is not canonical JSON")]
    NotCanonical,
    /// A field that every entry has is missing or of another type.
    #[error("leaf lacks a field that every entry has")]
    Incomplete,
}

impl Leaf {
    /// Most bytes of a leaf: what an entry bundle of C2SP tlog-tiles can hold.
    pub const BYTES_MAX: usize = 65_535;

    /// Numbers, serializes and authenticates a draft.
    #[must_use]
    pub fn seal(draft: &Draft, instance: &InstanceId, id: EntryId, mac: &EntryMac) -> Self {
        let (mut bytes, at) = body(draft, instance, id);
        let mac = mac.of(&bytes);
        let mut member = *b",\"mac\":\"0000000000000000000000000000000000000000000000000000000000000000\"";
        hex::encode_to_slice(mac, &mut member[8..72]).expect("32 bytes are 64 digits");
        bytes.splice(at..at, member);
        Self(bytes)
    }

    /// From bytes read back from the store.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, given away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// When it happened, if the bytes are an entry's. Nothing else is checked.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        #[derive(serde::Deserialize)]
        struct Timed {
            ts: Timestamp,
        }
        serde_json::from_slice::<Timed>(&self.0).ok().map(|timed| timed.ts)
    }

    /// The entry, if the bytes are one: canonical, and with the fields that say where it stands.
    pub fn read(&self) -> Result<ReadLeaf, InvalidLeaf> {
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&self.0).map_err(|_| InvalidLeaf::NotCanonical)?;
        let canonical = serde_json_canonicalizer::to_vec(&fields).map_err(|_| InvalidLeaf::NotCanonical)?;
        if canonical != self.0 {
            return Err(InvalidLeaf::NotCanonical);
        }
        let mut mac = [0; 32];
        let given = fields.remove("mac").ok_or(InvalidLeaf::Incomplete)?;
        hex::decode_to_slice(given.as_str().unwrap_or_default(), &mut mac)
            .map_err(|_| InvalidLeaf::Incomplete)?;
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
        let id = EntryId {
            boot: text("boot_id").and_then(BootId::parse).ok_or(InvalidLeaf::Incomplete)?,
            seq: fields
                .get("instance_seq")
                .and_then(serde_json::Value::as_u64)
                .ok_or(InvalidLeaf::Incomplete)?,
        };
        let instance =
            text("iid").and_then(|name| InstanceId::parse(name).ok()).ok_or(InvalidLeaf::Incomplete)?;
        let without_mac = serde_json_canonicalizer::to_vec(&fields).map_err(|_| InvalidLeaf::NotCanonical)?;
        Ok(ReadLeaf { id, instance, fields, without_mac, mac })
    }
}

/// An entry read back: where it says it stands, and what its MAC must cover.
#[derive(Clone, Debug)]
pub struct ReadLeaf {
    /// Where it says it stands.
    pub id: EntryId,
    /// Which instance it says wrote it.
    pub instance: InstanceId,
    /// Every field but `mac`.
    pub fields: serde_json::Map<String, serde_json::Value>,
    without_mac: Vec<u8>,
    mac: [u8; 32],
}

impl ReadLeaf {
    /// Whether this MAC made it.
    #[must_use]
    pub fn is_authentic(&self, mac: &EntryMac) -> bool {
        mac.of(&self.without_mac).ct_eq(&self.mac).into()
    }
}

/// The canonical bytes without `mac`, and where `,"mac":"…"` goes. Serialized in two halves because most of the cost
/// of an entry is here, and the committer writes every entry of the process.
fn body(draft: &Draft, instance: &InstanceId, id: EntryId) -> (Vec<u8>, usize) {
    let mut bytes = Vec::with_capacity(1024);
    let head = Head {
        actor: &draft.actor,
        asserted_by: draft.asserted_by.as_ref().map(strongroom_domain::WorkloadId::as_str),
        boot_id: id.boot,
        cards: &draft.cards,
        change: draft.change,
        dst: draft.dst.as_deref(),
        evt: draft.evt.as_str(),
        export: draft.export,
        finding: draft.finding.as_deref(),
        iid: instance.as_str(),
        instance_seq: id.seq,
        key: draft.key.as_ref(),
    };
    serde_json::to_writer(&mut bytes, &head).expect("texts and numbers serialize into memory");
    bytes.pop();
    let at = bytes.len();
    let tail = Tail {
        n: draft.n,
        obj: &draft.obj,
        out: draft.out.as_str(),
        pol: draft.pol.as_ref(),
        req: draft.req.as_ref(),
        rsn: draft.rsn,
        src: draft.src.as_ref(),
        suspension: draft.suspension.as_deref(),
        ts: draft.ts,
        v: FORMAT,
    };
    serde_json::to_writer(&mut bytes, &tail).expect("texts and numbers serialize into memory");
    bytes[at] = b',';
    (bytes, at)
}

/// Members before `mac`, in RFC 8785 order.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(serialize_with = "wire::actor")]
    actor: &'a Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    asserted_by: Option<&'a str>,
    boot_id: BootId,
    #[serde(skip_serializing_if = "<[TokenRef]>::is_empty")]
    cards: &'a [TokenRef],
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::some_change")]
    change: Option<CardChange>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::some_destination")]
    dst: Option<&'a Destination>,
    evt: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::some_export")]
    export: Option<ExportRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<&'a FindingRef>,
    iid: &'a str,
    instance_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::some_key")]
    key: Option<&'a KeyRef>,
}

/// Members after `mac`, in RFC 8785 order.
#[derive(Serialize)]
struct Tail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(serialize_with = "wire::object")]
    obj: &'a Object,
    out: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::some_policy")]
    pol: Option<&'a Pol>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::some_request")]
    req: Option<&'a Req>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rsn: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::some_source")]
    src: Option<&'a Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspension: Option<&'a SuspensionRef>,
    ts: Timestamp,
    v: u32,
}
