//! The index in both databases: one text, and what they say differently.

/// Both drivers read `$1`; what differs is how a JSON array becomes rows.
macro_rules! find_store {
    ($store:ty, $connection:ty, $row:ty, $readers:ident, $writers:ident, $begin:literal, $dialect:expr) => {
        #[async_trait::async_trait]
        impl FindStore for $store {
            async fn follow(
                &self,
                follower: Follower,
                holder: BootId,
                now: Timestamp,
                until: Timestamp,
            ) -> Result<Option<Following>, StoreError> {
                let taken = sqlx::query(
                    "UPDATE log_followers SET fence = fence + 1, holder = $1, lease_until = $2 \
                     WHERE name = $3 AND (lease_until <= $4 OR holder = $1) RETURNING fence, next_place",
                )
                .bind(holder.as_uuid())
                .bind(until.unix_micros())
                .bind(follower.as_str())
                .bind(now.unix_micros())
                .fetch_optional(&self.$writers)
                .await?;
                taken
                    .map(|row| {
                        let lease = Lease { holder, fence: count(row.try_get(0)?)? };
                        Ok(Following { lease, next: count(row.try_get(1)?)? })
                    })
                    .transpose()
            }

            async fn followed(&self, follower: Follower) -> Result<u64, StoreError> {
                let next: i64 = sqlx::query_scalar("SELECT next_place FROM log_followers WHERE name = $1")
                    .bind(follower.as_str())
                    .fetch_one(&self.$readers)
                    .await?;
                count(next)
            }

            async fn go_on(
                &self,
                follower: Follower,
                following: Following,
                next: u64,
                until: Timestamp,
            ) -> Result<bool, StoreError> {
                let done = sqlx::query(FENCED)
                    .bind(signed(next))
                    .bind(until.unix_micros())
                    .bind(follower.as_str())
                    .bind(following.lease.holder.as_uuid())
                    .bind(signed(following.lease.fence))
                    .bind(signed(following.next))
                    .execute(&self.$writers)
                    .await?;
                Ok(done.rows_affected() == 1)
            }

            async fn index_entries(
                &self,
                following: Following,
                next: u64,
                rows: &[IndexRow],
                until: Timestamp,
            ) -> Result<bool, StoreError> {
                let mut transaction = self.$writers.begin_with($begin).await?;
                let done = sqlx::query(FENCED)
                    .bind(signed(next))
                    .bind(until.unix_micros())
                    .bind(Follower::Find.as_str())
                    .bind(following.lease.holder.as_uuid())
                    .bind(signed(following.lease.fence))
                    .bind(signed(following.next))
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() != 1 {
                    transaction.rollback().await?;
                    return Ok(false);
                }
                let ids = number(&mut transaction, names(rows)).await?;
                let id = |kind: &'static str, name: &str| {
                    ids.get(&(kind, std::borrow::Cow::Borrowed(name))).copied()
                };
                let made = Rows::of(rows, id).ok_or(StoreError::Corrupt("log_names"))?;
                for (statement, rows) in $dialect.inserts.into_iter().zip(made.json()) {
                    sqlx::query(statement).bind(rows).execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
                Ok(true)
            }

            async fn places(
                &self,
                filter: &EntryFilter,
                range: EntryRange,
            ) -> Result<PlacePage, StoreError> {
                let Some(window) = self.window(filter.from, filter.until).await? else {
                    return Ok(PlacePage::default());
                };
                let Some(known) = self.known(filter).await? else { return Ok(PlacePage::default()) };
                let mut sql = PageSql::new(filter, &known, range, window, $dialect.advised);
                let (edge, binds) = sql.edge();
                let mut query = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(edge));
                for bind in binds {
                    query = query.bind(bind);
                }
                let edge = query.fetch_optional(&self.$readers).await?;
                let (page, binds) = sql.page(edge);
                let mut query = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(page));
                for bind in binds {
                    query = query.bind(bind);
                }
                let mut places = query.fetch_all(&self.$readers).await?;
                let limit = range.limit as usize;
                let next = if places.len() > limit {
                    places.truncate(limit);
                    places.last().copied()
                } else {
                    edge
                };
                let places = places.into_iter().map(count).collect::<Result<_, _>>()?;
                Ok(PlacePage { places, next: next.map(count).transpose()? })
            }

            async fn uses(
                &self,
                workload: &str,
                window: (Option<Timestamp>, Option<Timestamp>),
                after: Option<UsePlace>,
                limit: u32,
            ) -> Result<UsePage, StoreError> {
                let Some((low, high)) = self.window(window.0, window.1).await? else {
                    return Ok(UsePage::default());
                };
                let Some(id) = self.name_of("workload", workload).await? else {
                    return Ok(UsePage::default());
                };
                let (token, place) = after.map_or((i64::MIN, -1), |after| (after.token, signed(after.place)));
                let edge = self.edge_of_uses(id.0, token, place).await?;
                let of = |row: &_| -> Result<UsePlace, StoreError> {
                    Ok(UsePlace { token: use_row(row)?.0, place: count(use_row(row)?.1)? })
                };
                let edge = edge.as_ref().map(of).transpose()?;
                let end = edge.map_or((i64::MAX, i64::MAX), |edge| (edge.token, signed(edge.place)));
                let rows = sqlx::query(
                    "SELECT f.token, f.place FROM log_forwards AS f JOIN log_entries AS e ON e.place = f.place \
                     WHERE f.workload = $1 AND (f.token, f.place) > ($2, $3) AND (f.token, f.place) <= ($4, $5) \
                     AND f.place >= $6 AND f.place < $7 AND e.at >= $8 AND e.at < $9 \
                     ORDER BY f.token, f.place LIMIT $10",
                )
                .bind(id.0)
                .bind(token)
                .bind(place)
                .bind(end.0)
                .bind(end.1)
                .bind(low)
                .bind(high)
                .bind(window.0.map_or(i64::MIN, Timestamp::unix_micros))
                .bind(window.1.map_or(i64::MAX, Timestamp::unix_micros))
                .bind(i64::from(limit) + 1)
                .fetch_all(&self.$readers)
                .await?;
                let mut uses = rows.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                let limit = limit as usize;
                let next = if uses.len() > limit {
                    uses.truncate(limit);
                    uses.last().copied()
                } else {
                    edge
                };
                Ok(UsePage { uses, next })
            }

            async fn used_before(
                &self,
                token: &TokenRef,
                workload: &str,
                place: u64,
            ) -> Result<(bool, bool), StoreError> {
                let id = self.name_of("workload", workload).await?.map_or(0, |known| known.0);
                let export = self.name_of("verb", "pan.export").await?.map_or(0, |known| known.0);
                let row = sqlx::query(
                    "SELECT count(*), coalesce(sum(CASE WHEN e.caller = $1 THEN 1 ELSE 0 END), 0) FROM ( \
                     SELECT place FROM log_cards WHERE token = $2 AND place < $3 ORDER BY place DESC LIMIT 1000) AS c \
                     JOIN log_entries AS e ON e.place = c.place WHERE e.outcome = 1 AND (e.route IS NOT NULL OR e.verb = $4)",
                )
                .bind(id)
                .bind(token_key(token))
                .bind(signed(place))
                .bind(export)
                .fetch_one(&self.$readers)
                .await?;
                let (all, own) = use_row(&row)?;
                Ok((all > 0, own > 0))
            }

            async fn first_seen(&self, name: &[u8; 32], place: u64) -> Result<u64, StoreError> {
                sqlx::query("INSERT INTO log_seen (name, first_place) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                    .bind(name.as_slice())
                    .bind(signed(place))
                    .execute(&self.$writers)
                    .await?;
                let first: i64 = sqlx::query_scalar("SELECT first_place FROM log_seen WHERE name = $1")
                    .bind(name.as_slice())
                    .fetch_one(&self.$readers)
                    .await?;
                count(first)
            }

            async fn leaves(&self, places: &[u64]) -> Result<Vec<LoggedLeaf>, StoreError> {
                let wanted: Vec<i64> = places.iter().take(LEAVES_READ_MAX).map(|place| signed(*place)).collect();
                let rows = sqlx::query($dialect.leaves)
                    .bind(crate::store::encode::json(&wanted))
                    .fetch_all(&self.$readers)
                    .await?;
                let mut found = std::collections::HashMap::with_capacity(rows.len());
                for row in &rows {
                    let place = count(row.try_get(0)?)?;
                    let id = EntryId { boot: BootId::from_uuid(row.try_get(1)?), seq: count(row.try_get(2)?)? };
                    let leaf = row.try_get::<Option<Vec<u8>>, _>(3)?.map(Leaf::from_bytes);
                    let hash = row.try_get::<Option<Vec<u8>>, _>(4)?;
                    let hash = hash.and_then(|hash| bytes32(&hash).ok()).map(Hash::from_bytes);
                    found.insert(place, LoggedLeaf { place, id, leaf, hash });
                }
                Ok(places.iter().filter_map(|place| found.remove(place)).collect())
            }

            async fn named_cards(&self, tokens: &[TokenRef]) -> Result<Vec<NamedCardRow>, StoreError> {
                let mut found = Vec::new();
                for token in tokens.iter().take(LEAVES_READ_MAX) {
                    let (first, last) = hashes_of(token);
                    let row = sqlx::query(concat!(
                        "SELECT ",
                        card_columns!(),
                        " FROM cards WHERE token_hash >= $1 AND token_hash <= $2 LIMIT 1"
                    ))
                    .bind(first)
                    .bind(last)
                    .fetch_optional(&self.$readers)
                    .await?;
                    if let Some(row) = row {
                        let card = read::card(&row)?;
                        let (token, tenant) = (token.clone(), card.tenant);
                        found.push(NamedCardRow { token, tenant, facts: card.facts, brand: card.brand });
                    }
                }
                Ok(found)
            }
        }

        impl $store {
            /// The last use a page looks at, if more follow.
            async fn edge_of_uses(&self, workload: i64, token: i64, place: i64) -> Result<Option<$row>, StoreError> {
                let edge = sqlx::query(
                    "SELECT token, place FROM log_forwards WHERE workload = $1 AND (token, place) > ($2, $3) \
                     ORDER BY token, place LIMIT 1 OFFSET $4",
                )
                .bind(workload)
                .bind(token)
                .bind(place)
                .bind(i64::from(PLACES_LOOKED_AT_MAX) - 1);
                Ok(edge.fetch_optional(&self.$readers).await?)
            }

            /// Places among which everything of this time is: from, and before. None: nothing is.
            async fn window(
                &self,
                from: Option<Timestamp>,
                until: Option<Timestamp>,
            ) -> Result<Option<(i64, i64)>, StoreError> {
                let end = signed(self.followed(Follower::Find).await?);
                if from.is_none() && until.is_none() {
                    return Ok((end > 0).then_some((0, end)));
                }
                let row = sqlx::query(bounds_sql())
                    .bind(from.map_or(i64::MIN, Timestamp::unix_micros))
                    .bind(until.map_or(i64::MAX, Timestamp::unix_micros))
                    .fetch_one(&self.$readers)
                    .await?;
                let (first, last) = (row.try_get::<Option<i64>, _>(0)?, row.try_get::<Option<i64>, _>(1)?);
                let span = signed(SPAN);
                Ok(first.zip(last).map(|(first, last)| (first * span, end.min((last + 1) * span))))
            }

            /// The numbers of the names of a filter. None: one of them is in no entry.
            async fn known(&self, filter: &EntryFilter) -> Result<Option<Vec<Known>>, StoreError> {
                let mut known = Vec::new();
                for (column, name) in Column::of(filter) {
                    let Some((id, entries)) = self.name_of(column.kind(), name).await? else {
                        return Ok(None);
                    };
                    known.push(Known { column, id, entries });
                }
                Ok(Some(known))
            }

            async fn name_of(&self, kind: &str, name: &str) -> Result<Option<(i64, i64)>, StoreError> {
                let row = sqlx::query("SELECT id, entries FROM log_names WHERE kind = $1 AND name = $2")
                    .bind(kind)
                    .bind(name)
                    .fetch_optional(&self.$readers)
                    .await?;
                row.as_ref().map(use_row).transpose()
            }
        }

        /// Counts names and gives the number of each; a new one gets the next.
        async fn number<'a>(
            connection: &mut $connection,
            names: std::collections::BTreeMap<(&'static str, std::borrow::Cow<'a, str>), i64>,
        ) -> Result<std::collections::HashMap<(&'static str, std::borrow::Cow<'a, str>), i64>, StoreError> {
            let mut ids = std::collections::HashMap::with_capacity(names.len());
            for ((kind, name), entries) in names {
                let id = loop {
                    let known = sqlx::query_scalar::<_, i64>(
                        "UPDATE log_names SET entries = entries + $1 WHERE kind = $2 AND name = $3 RETURNING id",
                    )
                    .bind(entries)
                    .bind(kind)
                    .bind(name.as_ref())
                    .fetch_optional(&mut *connection)
                    .await?;
                    if let Some(id) = known {
                        break id;
                    }
                    sqlx::query(
                        "INSERT INTO log_names (id, kind, name, entries) SELECT max(id) + 1, $1, $2, 0 FROM log_names",
                    )
                    .bind(kind)
                    .bind(name.as_ref())
                    .execute(&mut *connection)
                    .await?;
                };
                ids.insert((kind, name), id);
            }
            Ok(ids)
        }
    };
}
pub(in crate::store) use find_store;

/// What the two drivers say differently.
pub(in crate::store) struct Dialect {
    /// For `log_entries`, `log_cards`, `log_forwards`, `log_spans`: each takes a JSON array of arrays.
    pub(in crate::store) inserts: [&'static str; 4],
    /// Entries at the places of a JSON array.
    pub(in crate::store) leaves: &'static str,
    /// Whether statements name the index to use.
    pub(in crate::store) advised: bool,
}

/// Goes on, if the lease and the place are what the holder saw.
pub(in crate::store) const FENCED: &str = "UPDATE log_followers SET next_place = $1, lease_until = $2 \
     WHERE name = $3 AND holder = $4 AND fence = $5 AND next_place = $6";
