//! The schema: made once, refused when unknown.

use std::os::unix::fs::PermissionsExt as _;

use strongroom_vault::store::{PostgresStore, SchemaError, SqliteStore, schema_version};

use super::ground::{Database, Ground};

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
    let server = tokio::task::spawn_blocking(crate::postgres::PostgresServer::start).await.unwrap();
    let options = server.options();
    assert!(matches!(PostgresStore::open(&options).await, Err(SchemaError::Missing)));
    let tries = futures_util::future::join_all((0..4).map(|_| PostgresStore::migrate(&options))).await;
    let added: Vec<u32> = tries.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(added, (1..=schema_version()).collect::<Vec<_>>());
    PostgresStore::open(&options).await.unwrap();
}
