//! How Postgres finds rows: by key, also in a table that grew since anything was known about it.

use strongroom_vault::store::{Committed, Committer, ForwardState};

use super::ground::Ground;

/// Rows a table gets behind the planner's back.
const ROWS: u64 = 20_000;

/// Rows that were read by reading a whole table; what a connection counted is told when it ends.
async fn read_whole(ground: &Ground) -> u64 {
    let sql = "SELECT coalesce(sum(seq_tup_read), 0)::text FROM pg_stat_user_tables \
               WHERE relname IN ('cards', 'forwards', 'idempotency_keys', 'audit_entries')";
    ground.texts(sql).await[0].parse().unwrap()
}

async fn rounds(ground: &Ground, committer: &Committer, from: u64, count: u64) {
    let key = ground.key("acme").await;
    for round in from..from + count {
        let card = ground.card("acme", key);
        let forward = ground.forward(&[&card]);
        for change in [
            ground.insert(card.clone(), Some(ground.answer(2 * round, 1, "answer"))),
            ground.open(&forward),
            ground.tell(&forward, ForwardState::Answered, serde_json::json!({"status": 200})),
            ground.erase(&card, Some(ground.answer(2 * round + 1, 1, "erased"))),
            ground.restore(&card, None),
        ] {
            assert_eq!(committer.commit(change).await, Ok(Committed::Done));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_batch_reads_a_table_whole_that_grew_since_it_was_planned_for() {
    let ground = Ground::postgres().await;
    // Nothing tells the planner what comes.
    for table in ["cards", "forwards", "idempotency_keys", "audit_entries"] {
        ground.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)")).await;
    }
    let (committer, task, _) = ground.committer().await;
    rounds(&ground, &committer, 0, 10).await;
    let grown = format!(
        "INSERT INTO forwards (id, tenant, proxy, caller, route, account, method, path, host, cards, attributes, state, \
             opened_at, closed_at) \
         SELECT gen_random_uuid(), tenant, proxy, caller, route, account, method, path, host, cards, attributes, 'answered', \
             opened_at, opened_at FROM (SELECT * FROM forwards LIMIT 1) AS one, generate_series(1, {ROWS}); \
         INSERT INTO cards (token_hash, token, tenant, record, data_key, bin, last4, row_version, created_at, updated_at) \
         SELECT sha256(place::text::bytea), token || place, tenant, record, data_key, bin, last4, 1, created_at, updated_at \
             FROM (SELECT * FROM cards LIMIT 1) AS one, generate_series(1, {ROWS}) AS place"
    );
    ground.run(&grown).await;
    let grown = read_whole(&ground).await;
    rounds(&ground, &committer, 100, 20).await;
    task.stop().await;
    let read = read_whole(&ground).await - grown;
    assert!(read < ROWS, "a hundred changes read {read} rows by reading whole tables");
}
