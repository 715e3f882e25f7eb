//! The schema: made once, refused when unknown.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_vault::store::{
    Committed, ForwardState, PostgresStore, PostgresTls, SchemaError, SqliteStore, schema_version,
};

use super::ground::{Database, Ground, HOLD};
use crate::postgres::PostgresServer;

super::both! {
    migrating_again_changes_nothing;
    an_unknown_version_is_refused;
    a_migration_edited_later_is_refused;
}

async fn open(ground: &Ground) -> Result<(), SchemaError> {
    match (&ground.database, ground.path()) {
        (Database::Postgres(server), _) => {
            let options = server.lock().unwrap().options();
            PostgresStore::open(&options).await.map(drop)
        }
        (Database::Sqlite(_), path) => SqliteStore::open(&path.unwrap()).await.map(drop),
    }
}

async fn migrate(ground: &Ground) -> Result<Vec<u32>, SchemaError> {
    match (&ground.database, ground.path()) {
        (Database::Postgres(server), _) => {
            let options = server.lock().unwrap().options();
            PostgresStore::migrate(&options).await
        }
        (Database::Sqlite(_), path) => SqliteStore::migrate(&path.unwrap()).await,
    }
}

async fn migrating_again_changes_nothing(ground: Ground) {
    assert_eq!(migrate(&ground).await.unwrap(), Vec::<u32>::new());
    open(&ground).await.unwrap();
}

async fn an_unknown_version_is_refused(ground: Ground) {
    let digest = if ground.is_postgres() { "'\\x00'::bytea" } else { "x'00'" };
    let next = schema_version() + 1;
    ground.tamper(&format!("INSERT INTO schema_versions (version, sha256) VALUES ({next}, {digest})")).await;
    for refused in [open(&ground).await, migrate(&ground).await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, SchemaError::Newer { found, .. } if found == next), "{error}");
        assert!(error.to_string().contains("run the newer program"));
    }
}

async fn a_migration_edited_later_is_refused(ground: Ground) {
    let digest = if ground.is_postgres() { "'\\x00'::bytea" } else { "x'00'" };
    ground.tamper(&format!("UPDATE schema_versions SET sha256 = {digest} WHERE version = 1")).await;
    assert!(matches!(open(&ground).await, Err(SchemaError::Differs { version: 1 })));
}

#[tokio::test]
async fn an_unmigrated_file_is_refused_and_a_migrated_one_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.db");
    assert!(matches!(SqliteStore::open(&path).await, Err(SchemaError::Missing)));
    assert!(!path.exists(), "looking creates nothing");
    assert_eq!(SqliteStore::migrate(&path).await.unwrap(), (1..=schema_version()).collect::<Vec<_>>());
    let store = SqliteStore::open(&path).await.unwrap();
    strongroom_vault::store::Store::ping(&store).await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(SqliteStore::open(&path).await, Err(SchemaError::FileMode)));
}

#[tokio::test]
async fn an_unmigrated_postgres_is_refused_and_many_may_migrate_at_once() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let options = server.options();
    assert!(matches!(PostgresStore::open(&options).await, Err(SchemaError::Missing)));
    let tries = futures_util::future::join_all((0..4).map(|_| PostgresStore::migrate(&options))).await;
    let mut added: Vec<u32> = tries.into_iter().flat_map(Result::unwrap).collect();
    added.sort_unstable(); // each step by whoever came first
    assert_eq!(added, (1..=schema_version()).collect::<Vec<_>>());
    PostgresStore::open(&options).await.unwrap();
}

/// A step on a large database takes minutes; whoever else migrates waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_another_longer_than_any_lock_of_a_request() {
    let ground = Ground::postgres().await;
    let options = {
        let Database::Postgres(server) = &ground.database else { unreachable!() };
        server.lock().unwrap().options()
    };
    let holding =
        ground.run("BEGIN; LOCK TABLE schema_versions IN EXCLUSIVE MODE; SELECT pg_sleep(6); COMMIT");
    let (_, waited) = tokio::join!(holding, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        (PostgresStore::migrate(&options).await, began.elapsed())
    });
    assert_eq!(waited.0.unwrap(), Vec::<u32>::new());
    assert!(waited.1 > Duration::from_secs(4), "it did not wait: {:?}", waited.1);
}

/// Tables with their columns in order, and indexes, as a database tells them.
async fn outline(ground: &Ground) -> Vec<String> {
    let (columns, indexes) = if ground.is_postgres() {
        (
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN '!' ELSE '' END \
             FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
            "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey'",
        )
    } else {
        (
            "SELECT tables.name || '.' || columns.name || CASE columns.\"notnull\" WHEN 1 THEN '!' ELSE '' END \
             FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns \
             WHERE tables.type = 'table' ORDER BY tables.name, columns.cid",
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND name NOT LIKE 'sqlite_autoindex%'",
        )
    };
    let mut outline = ground.texts(columns).await;
    let mut indexes = ground.texts(indexes).await;
    indexes.sort();
    outline.append(&mut indexes);
    outline
}

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let (sqlite, postgres) = (Ground::sqlite().await, Ground::postgres().await);
    assert_eq!(outline(&sqlite).await, outline(&postgres).await);
    // Migrated again is as migrated fresh.
    let before = outline(&sqlite).await;
    migrate(&sqlite).await.unwrap();
    assert_eq!(outline(&sqlite).await, before);
}

/// What `migrations/README.md` grants is enough to serve, and not enough to change an entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_and_no_more() {
    let mut ground = Ground::postgres().await;
    let (_, grants) = include_str!("../../../../migrations/README.md").split_once("```sql\n").unwrap();
    let (grants, _) = grants.split_once("```").unwrap();
    ground.run(&format!("CREATE ROLE vault LOGIN; {grants}")).await;
    let mut options = {
        let Database::Postgres(server) = &ground.database else { unreachable!() };
        server.lock().unwrap().options()
    };
    options.user = "vault".into();
    ground.store = Arc::new(PostgresStore::open(&options).await.unwrap());
    let (committer, task, _) = ground.committer().await;
    let key = ground.key("acme").await;
    let card = ground.card("acme", key);
    let forward = ground.forward(&[&card]);
    let tenant = ground.tenant("acme", 1);
    for change in [
        ground.put(&tenant, None),
        ground.insert(card.clone(), Some(ground.answer(1, 1, "answer"))),
        ground.open(&forward),
        ground.tell(&forward, ForwardState::Answered, serde_json::json!({"status": 200})),
        ground.erase(&card, None),
        ground.restore(&card, None),
        ground.erase(&card, None),
        ground.note(),
    ] {
        assert_eq!(committer.commit(change).await, Ok(Committed::Done));
    }
    ground.clock.go_on(HOLD);
    assert_eq!(committer.commit(ground.destroy(&card)).await, Ok(Committed::Done));
    task.stop().await;
    ground.clock.go_on(Duration::from_secs(48 * 3600));
    assert_eq!(ground.store.forget_idempotent(ground.clock_now(), 10).await.unwrap(), 1);
    for forbidden in ["UPDATE audit_entries SET leaf = ''", "DELETE FROM audit_entries", "DELETE FROM cards"]
    {
        let refused = ground.refusal_of(&options.user, forbidden).await;
        assert_eq!(refused.as_deref(), Some("42501"), "{forbidden}");
    }
}

#[tokio::test]
async fn a_postgres_of_an_unknown_authority_is_not_trusted() {
    let (mut server, authority, other) = tokio::task::spawn_blocking(|| {
        let mut server = PostgresServer::start();
        let [authority, other] = server.serve_tls();
        (server, authority, other)
    })
    .await
    .unwrap();
    let mut options = server.tcp_options();
    options.tls = PostgresTls::VerifyFull { ca_file: Some(authority) };
    PostgresStore::migrate(&options).await.unwrap();
    let store = PostgresStore::open(&options).await.unwrap();
    strongroom_vault::store::Store::ping(&store).await.unwrap();
    options.tls = PostgresTls::VerifyFull { ca_file: Some(other) };
    assert!(PostgresStore::open(&options).await.is_err());
    options.host = "127.0.0.1".into();
    options.tls = PostgresTls::VerifyFull { ca_file: Some(server.authority()) };
    assert!(PostgresStore::open(&options).await.is_err(), "the certificate is for localhost");
    server.kill();
}
