//! Pages of cards.

use sqlx::AssertSqlSafe;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool};
use strongroom_domain::{Brand, TenantId, Timestamp};

use crate::store::decode::sqlite as read;
use crate::store::error::StoreError;
use crate::store::list::{Bounds, CardFilter, CardListSql, CardPage, CardPlace};

/// One page: first how far it looks, then what is there.
pub(super) async fn page(
    readers: &SqlitePool,
    tenant: &TenantId,
    filter: &CardFilter,
    after: Option<CardPlace>,
    limit: u32,
    now: Timestamp,
) -> Result<CardPage, StoreError> {
    let sql = CardListSql::new(filter, '?');
    let bounds = Bounds::new(filter, after.as_ref());
    let last4 = filter.last4.as_ref().map(|last4| last4.as_str().to_owned());
    let mut query = within(sqlx::query(AssertSqlSafe(sql.edge)), tenant, bounds);
    if let Some(last4) = &last4 {
        query = query.bind(last4);
    }
    let edge = query.fetch_optional(readers).await?.map(|row| read::place(&row)).transpose()?;
    let bounds = bounds.down_to(edge.as_ref());
    let mut query = within(sqlx::query(AssertSqlSafe(sql.page)), tenant, bounds)
        .bind(now.unix_micros())
        .bind(i64::from(limit) + 1);
    query = asked_for(query, filter);
    let cards = query.fetch_all(readers).await?.iter().map(read::card).collect::<Result<_, _>>()?;
    Ok(CardPage::of(cards, limit, edge))
}

/// How many there are.
pub(super) async fn count(
    readers: &SqlitePool,
    tenant: &TenantId,
    filter: &CardFilter,
    now: Timestamp,
) -> Result<u64, StoreError> {
    use sqlx::Row as _;
    let sql = CardListSql::new(filter, '?');
    let query = within(sqlx::query(AssertSqlSafe(sql.count)), tenant, Bounds::new(filter, None));
    let query = query.bind(now.unix_micros()).bind(1_i64);
    let row = asked_for(query, filter).fetch_one(readers).await?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}

/// What the page's conditions compare with, in their order.
fn asked_for<'q>(
    mut query: Query<'q, Sqlite, SqliteArguments>,
    filter: &CardFilter,
) -> Query<'q, Sqlite, SqliteArguments> {
    if let Some(last4) = &filter.last4 {
        query = query.bind(last4.as_str().to_owned());
    }
    if let Some(brand) = filter.brand {
        query = query.bind(Brand::as_str(brand));
    }
    if let Some(expiry) = filter.expiring_before {
        query = query.bind(expiry.to_string());
    }
    query
}

fn within<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    tenant: &'q TenantId,
    bounds: Bounds<'q>,
) -> Query<'q, Sqlite, SqliteArguments> {
    let (below, from) = (bounds.below, bounds.from);
    query.bind(tenant.as_str()).bind(below.0).bind(below.1).bind(from.0).bind(from.1)
}
