//! Rows as the databases hold them, read into the values they must be. One text for both drivers.

use strongroom_domain::route::{AccountName, Attribute, AttributeSet, RouteName};
use strongroom_domain::{
    Alias, AliasKind, BootId, Brand, CardFacts, DataKeyId, Digits, Expiry, ForwardId, Metadata, TenantId,
    Timestamp, Token, TokenHash, TokenRef, WorkloadId,
};
use strongroom_sealing::Fingerprint;

use super::StoreError;
use super::events::EndingCard;
use super::keys::{KeyScope, KeyState, Purpose, WrappedKey};
use super::list::CardPlace;
use super::outbox::{Backlog, CardEventKind, EventRow, EventState};
use super::rows::{
    AliasRow, BootRow, CardRow, ForwardRow, ForwardState, Holder, IdempotencyRow, StoredEntry, TenantRow,
    TenantStatus,
};
use crate::audit::{EntryId, InstanceId, Leaf};

/// Columns of a card, in the order [`card`](postgres::card) reads them.
macro_rules! card_columns {
    () => {
        "token, tenant, record, data_key, bin, last4, exp, brand, length, row_version, expires_at, metadata, \
         created_at, updated_at, deleted_at, destroy_after, fingerprint, number_version, \
         closed_at"
    };
}
/// Columns of an alias.
macro_rules! alias_columns {
    () => {
        "alias, kind, tenant, token_hash, mac_key, mac, created_at"
    };
}
/// Columns of a tenant.
macro_rules! tenant_columns {
    () => {
        "id, settings, status, version, created_at, updated_at"
    };
}
/// Columns of a data key.
macro_rules! key_columns {
    () => {
        "id, scope, purpose, wrapped, provider, kms_key, state, created_at, seals_until"
    };
}
/// Columns of an answer to give again.
macro_rules! idempotency_columns {
    () => {
        "scope, digest, status, answer, expires_at"
    };
}
/// Columns of a forward.
macro_rules! forward_columns {
    () => {
        "id, tenant, proxy, caller, route, account, method, path, host, cards, attributes, state, opened_at, \
         closed_at, outcome, grounds, reconciled"
    };
}
/// Columns of an event of the outbox.
macro_rules! event_columns {
    () => {
        "token_hash, sequence, tenant, kind, data, occurred_at, state, due_at, give_up_at, attempts, met"
    };
}
/// Columns of a boot.
macro_rules! boot_columns {
    () => {
        "boot_id, instance, mac_key, started_at, written_at, next_seq"
    };
}
pub(super) use {
    alias_columns, boot_columns, card_columns, event_columns, forward_columns, idempotency_columns,
    key_columns, tenant_columns,
};

macro_rules! readers {
    ($driver:ident, $row:ty) => {
        /// The readers of one driver.
        pub(super) mod $driver {
            use super::*;
            use sqlx::Row as _;
            use uuid::Uuid;

            /// Reads a card.
            pub(in crate::store) fn card(row: &$row) -> Result<CardRow, StoreError> {
                let facts = super::facts(
                    row.try_get::<&str, _>(4)?,
                    row.try_get::<&str, _>(5)?,
                    row.try_get::<Option<&str>, _>(6)?,
                )?;
                Ok(CardRow {
                    token: Token::parse(row.try_get::<&str, _>(0)?)
                        .map_err(|_| StoreError::Corrupt("cards.token"))?,
                    tenant: tenant_id(row.try_get::<&str, _>(1)?)?,
                    record: row.try_get(2)?,
                    data_key: DataKeyId::from_uuid(row.try_get::<Uuid, _>(3)?),
                    facts,
                    brand: row.try_get::<Option<&str>, _>(7)?.map(Brand::from_name),
                    length: row
                        .try_get::<Option<i32>, _>(8)?
                        .map(u8::try_from)
                        .transpose()
                        .map_err(|_| StoreError::Corrupt("cards.length"))?,
                    row_version: count(row.try_get(9)?)?,
                    expires_at: time(row.try_get(10)?),
                    metadata: super::metadata(row.try_get::<Option<&str>, _>(11)?)?,
                    created_at: Timestamp::from_unix_micros(row.try_get(12)?),
                    updated_at: Timestamp::from_unix_micros(row.try_get(13)?),
                    deleted_at: time(row.try_get(14)?),
                    destroy_after: time(row.try_get(15)?),
                    fingerprint: row
                        .try_get::<Option<&[u8]>, _>(16)?
                        .map(|bytes| bytes32(bytes).map(Fingerprint::from_bytes))
                        .transpose()?,
                    number_version: count(row.try_get::<Option<i64>, _>(17)?.unwrap_or(1))?,
                    closed_at: time(row.try_get(18)?),
                })
            }

            /// Reads an alias.
            pub(in crate::store) fn alias(row: &$row) -> Result<AliasRow, StoreError> {
                let corrupt = StoreError::Corrupt;
                let alias = Alias::parse(row.try_get::<&str, _>(0)?).map_err(|_| corrupt("aliases.alias"))?;
                let kind = AliasKind::parse(row.try_get::<&str, _>(1)?);
                if kind != Some(alias.kind()) {
                    return Err(corrupt("aliases.kind"));
                }
                Ok(AliasRow {
                    alias,
                    tenant: tenant_id(row.try_get::<&str, _>(2)?)?,
                    token: TokenHash::from_bytes(bytes32(row.try_get::<&[u8], _>(3)?)?),
                    mac_key: row
                        .try_get::<Option<Uuid>, _>(4)?
                        .map(DataKeyId::from_uuid)
                        .ok_or(corrupt("aliases.mac_key"))?,
                    mac: bytes32(row.try_get::<&[u8], _>(5)?)?,
                    created_at: Timestamp::from_unix_micros(row.try_get(6)?),
                })
            }

            /// Reads a card's place in the list: time, hash.
            pub(in crate::store) fn place(row: &$row) -> Result<CardPlace, StoreError> {
                Ok(CardPlace {
                    created_at: Timestamp::from_unix_micros(row.try_get(0)?),
                    token: TokenHash::from_bytes(bytes32(row.try_get::<&[u8], _>(1)?)?),
                })
            }

            /// Reads a tenant.
            pub(in crate::store) fn tenant(row: &$row) -> Result<TenantRow, StoreError> {
                Ok(TenantRow {
                    id: tenant_id(row.try_get::<&str, _>(0)?)?,
                    settings: serde_json::from_str(row.try_get::<&str, _>(1)?)
                        .map_err(|_| StoreError::Corrupt("tenants.settings"))?,
                    status: TenantStatus::parse(row.try_get::<&str, _>(2)?)
                        .ok_or(StoreError::Corrupt("tenants.status"))?,
                    version: count(row.try_get(3)?)?,
                    created_at: Timestamp::from_unix_micros(row.try_get(4)?),
                    updated_at: Timestamp::from_unix_micros(row.try_get(5)?),
                })
            }

            /// Reads a data key.
            pub(in crate::store) fn key(row: &$row) -> Result<WrappedKey, StoreError> {
                let corrupt = StoreError::Corrupt;
                Ok(WrappedKey {
                    id: DataKeyId::from_uuid(row.try_get::<Uuid, _>(0)?),
                    scope: KeyScope::parse(row.try_get::<&str, _>(1)?).ok_or(corrupt("data_keys.scope"))?,
                    purpose: Purpose::parse(row.try_get::<&str, _>(2)?)
                        .ok_or(corrupt("data_keys.purpose"))?,
                    wrapped: row.try_get(3)?,
                    provider: row.try_get(4)?,
                    kms_key: row.try_get(5)?,
                    state: KeyState::parse(row.try_get::<&str, _>(6)?).ok_or(corrupt("data_keys.state"))?,
                    created_at: Timestamp::from_unix_micros(row.try_get(7)?),
                    seals_until: Timestamp::from_unix_micros(row.try_get(8)?),
                })
            }

            /// Reads an answer to give again.
            pub(in crate::store) fn idempotency(row: &$row) -> Result<IdempotencyRow, StoreError> {
                Ok(IdempotencyRow {
                    scope: bytes32(row.try_get::<&[u8], _>(0)?)?,
                    digest: bytes32(row.try_get::<&[u8], _>(1)?)?,
                    status: u16::try_from(row.try_get::<i32, _>(2)?)
                        .map_err(|_| StoreError::Corrupt("idempotency_keys.status"))?,
                    answer: row.try_get(3)?,
                    expires_at: Timestamp::from_unix_micros(row.try_get(4)?),
                })
            }

            /// Reads who holds a payment reference. A forward that is not there cannot have been this program's doing:
            /// nothing is said of it that would let another go.
            pub(in crate::store) fn holder(row: &$row) -> Result<Holder, StoreError> {
                let forward = ForwardId::from_uuid(row.try_get::<Uuid, _>(0)?);
                let state = row.try_get::<Option<&str>, _>(1)?.and_then(ForwardState::parse);
                Ok(Holder { forward, state: state.unwrap_or(ForwardState::Unknown) })
            }

            /// Reads a forward.
            pub(in crate::store) fn forward(row: &$row) -> Result<ForwardRow, StoreError> {
                let workload =
                    |text: &str| WorkloadId::parse(text).map_err(|_| StoreError::Corrupt("forwards.caller"));
                Ok(ForwardRow {
                    id: ForwardId::from_uuid(row.try_get::<Uuid, _>(0)?),
                    tenant: tenant_id(row.try_get::<&str, _>(1)?)?,
                    proxy: workload(row.try_get::<&str, _>(2)?)?,
                    caller: workload(row.try_get::<&str, _>(3)?)?,
                    route: RouteName::parse(row.try_get::<&str, _>(4)?)
                        .ok_or(StoreError::Corrupt("forwards.route"))?,
                    account: AccountName::parse(row.try_get::<&str, _>(5)?)
                        .ok_or(StoreError::Corrupt("forwards.account"))?,
                    method: row.try_get(6)?,
                    path: row.try_get(7)?,
                    host: row.try_get(8)?,
                    cards: super::token_refs(row.try_get::<&str, _>(9)?)?,
                    attributes: super::attributes(row.try_get::<&str, _>(10)?)?,
                    state: ForwardState::parse(row.try_get::<&str, _>(11)?)
                        .ok_or(StoreError::Corrupt("forwards.state"))?,
                    opened_at: Timestamp::from_unix_micros(row.try_get(12)?),
                    closed_at: time(row.try_get(13)?),
                    outcome: super::json(row.try_get(14)?, "forwards.outcome")?,
                    grounds: super::json(row.try_get(15)?, "forwards.grounds")?,
                    reconciled: super::json(row.try_get(16)?, "forwards.reconciled")?,
                })
            }

            /// Reads a boot.
            pub(in crate::store) fn boot(row: &$row) -> Result<BootRow, StoreError> {
                Ok(BootRow {
                    boot: BootId::from_uuid(row.try_get::<Uuid, _>(0)?),
                    instance: InstanceId::parse(row.try_get::<&str, _>(1)?)
                        .map_err(|_| StoreError::Corrupt("audit_boots.instance"))?,
                    mac_key: DataKeyId::from_uuid(row.try_get::<Uuid, _>(2)?),
                    started_at: Timestamp::from_unix_micros(row.try_get(3)?),
                    written_at: Timestamp::from_unix_micros(row.try_get(4)?),
                    next_seq: count(row.try_get(5)?)?,
                })
            }

            /// Reads an event of the outbox.
            pub(in crate::store) fn event(row: &$row) -> Result<EventRow, StoreError> {
                Ok(EventRow {
                    token: TokenHash::from_bytes(bytes32(row.try_get(0)?)?),
                    sequence: count(row.try_get(1)?)?,
                    tenant: tenant_id(row.try_get::<&str, _>(2)?)?,
                    kind: CardEventKind::parse(row.try_get::<&str, _>(3)?)
                        .ok_or(StoreError::Corrupt("card_events.kind"))?,
                    data: row.try_get(4)?,
                    occurred_at: Timestamp::from_unix_micros(row.try_get(5)?),
                    state: EventState::parse(row.try_get::<&str, _>(6)?)
                        .ok_or(StoreError::Corrupt("card_events.state"))?,
                    due_at: Timestamp::from_unix_micros(row.try_get(7)?),
                    give_up_at: Timestamp::from_unix_micros(row.try_get(8)?),
                    attempts: row.try_get::<i32, _>(9)?.unsigned_abs(),
                    met: row.try_get(10)?,
                })
            }

            /// Reads what waits for a destination: pending, the oldest, dead.
            pub(in crate::store) fn backlog(row: &$row) -> Result<Backlog, StoreError> {
                Ok(Backlog {
                    pending: count(row.try_get(0)?)?,
                    oldest: super::time(row.try_get(1)?),
                    dead: count(row.try_get(2)?)?,
                })
            }

            /// Reads a card whose end is near: tenant, hash, expiry, end of its token.
            pub(in crate::store) fn ending(row: &$row) -> Result<EndingCard, StoreError> {
                let expiry = row.try_get::<Option<&str>, _>(2)?;
                let expiry = expiry.map(|text| Expiry::parse_yymm(text.as_bytes())).transpose();
                Ok(EndingCard {
                    tenant: tenant_id(row.try_get::<&str, _>(0)?)?,
                    token: TokenHash::from_bytes(bytes32(row.try_get(1)?)?),
                    expiry: expiry.map_err(|_| StoreError::Corrupt("cards.exp"))?,
                    expires_at: super::time(row.try_get(3)?),
                })
            }

            /// Reads an entry: boot, number, bytes.
            pub(in crate::store) fn entry(row: &$row) -> Result<StoredEntry, StoreError> {
                Ok(StoredEntry {
                    id: EntryId {
                        boot: BootId::from_uuid(row.try_get::<Uuid, _>(0)?),
                        seq: count(row.try_get(1)?)?,
                    },
                    leaf: Leaf::from_bytes(row.try_get(2)?),
                })
            }
        }
    };
}

readers!(postgres, sqlx::postgres::PgRow);
readers!(sqlite, sqlx::sqlite::SqliteRow);

fn tenant_id(text: &str) -> Result<TenantId, StoreError> {
    TenantId::parse(text).map_err(|_| StoreError::Corrupt("tenant"))
}

pub(super) fn count(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt("a negative count"))
}

fn time(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_unix_micros)
}

pub(super) fn bytes32(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt("a digest of another length"))
}

fn facts(bin: &str, last4: &str, exp: Option<&str>) -> Result<CardFacts, StoreError> {
    Ok(CardFacts {
        bin: Digits::parse(bin).ok_or(StoreError::Corrupt("cards.bin"))?,
        last4: Digits::parse(last4).ok_or(StoreError::Corrupt("cards.last4"))?,
        expiry: exp
            .map(|exp| Expiry::parse_yymm(exp.as_bytes()))
            .transpose()
            .map_err(|_| StoreError::Corrupt("cards.exp"))?,
    })
}

fn metadata(text: Option<&str>) -> Result<Metadata, StoreError> {
    text.map_or_else(
        || Ok(Metadata::default()),
        |text| serde_json::from_str(text).map_err(|_| StoreError::Corrupt("cards.metadata")),
    )
}

/// A column of JSON, if there is any.
fn json<T: serde::de::DeserializeOwned>(
    text: Option<&str>,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    text.map(serde_json::from_str).transpose().map_err(|_| StoreError::Corrupt(column))
}

fn token_refs(text: &str) -> Result<Vec<TokenRef>, StoreError> {
    let texts: Vec<&str> = serde_json::from_str(text).map_err(|_| StoreError::Corrupt("forwards.cards"))?;
    texts.into_iter().map(|text| TokenRef::parse(text).ok_or(StoreError::Corrupt("forwards.cards"))).collect()
}

fn attributes(text: &str) -> Result<AttributeSet, StoreError> {
    text.split_ascii_whitespace()
        .map(|name| Attribute::parse(name).ok_or(StoreError::Corrupt("forwards.attributes")))
        .collect()
}
