//! An entry as counting reads it: the members that are counted, borrowed from its bytes.

use std::borrow::Cow;

use serde::Deserialize;
use strongroom_domain::Timestamp;

use crate::audit::Leaf;

/// The members of an entry that are counted. What is not here is not looked at (`vault/docs/audit-format.md`).
#[derive(Debug, Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) evt: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) out: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) rsn: Option<Cow<'a, str>>,
    pub(super) ts: Timestamp,
    #[serde(borrow)]
    pub(super) iid: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) boot_id: Cow<'a, str>,
    pub(super) instance_seq: u64,
    #[serde(borrow)]
    pub(super) actor: Actor<'a>,
    #[serde(borrow, default)]
    pub(super) asserted_by: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) src: Option<Source<'a>>,
    #[serde(borrow)]
    pub(super) obj: Object<'a>,
    #[serde(borrow, default)]
    pub(super) dst: Option<Destination<'a>>,
    #[serde(borrow, default)]
    pub(super) pol: Option<Policy<'a>>,
    #[serde(borrow, default)]
    pub(super) key: Option<Key<'a>>,
    #[serde(default)]
    pub(super) n: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Key<'a> {
    #[serde(borrow)]
    pub(super) dek_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kek_ref: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Actor<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) cert_sha256: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Source<'a> {
    #[serde(borrow, default)]
    pub(super) tls: Option<Tls<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tls<'a> {
    #[serde(borrow)]
    pub(super) ver: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) suite: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) group: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Object<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) r#ref: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) tenant: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) purpose: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Destination<'a> {
    #[serde(borrow)]
    pub(super) route_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) account: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) host: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) path: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) attributes: Vec<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Policy<'a> {
    #[serde(default)]
    pub(super) rev: Option<u64>,
    #[serde(borrow)]
    pub(super) sha256: Cow<'a, str>,
}

impl<'a> Entry<'a> {
    /// The entry in these bytes; none if they are not one.
    pub(super) fn read(leaf: &'a Leaf) -> Option<Self> {
        serde_json::from_slice(leaf.as_bytes()).ok()
    }
}
