//! Versions of the schema. `migrations/README.md` says how one changes.
//!
//! Promises: a schema this program does not know is refused with a sentence, and a migration that was applied and then
//! edited is too.

use sha2::Digest as _;

use super::error::StoreError;

/// One step of the schema, in both databases.
pub(super) struct Migration {
    /// Counts from 1 without a gap.
    pub(super) version: u32,
    /// For SQLite.
    pub(super) sqlite: &'static str,
    /// For Postgres.
    pub(super) postgres: &'static str,
}

/// Every migration, embedded: a binary carries its schema.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        sqlite: include_str!("../../../migrations/sqlite/0001_init.sql"),
        postgres: include_str!("../../../migrations/postgres/0001_init.sql"),
    },
    Migration {
        version: 2,
        sqlite: include_str!("../../../migrations/sqlite/0002_listing.sql"),
        postgres: include_str!("../../../migrations/postgres/0002_listing.sql"),
    },
    Migration {
        version: 3,
        sqlite: include_str!("../../../migrations/sqlite/0003_names.sql"),
        postgres: include_str!("../../../migrations/postgres/0003_names.sql"),
    },
    Migration {
        version: 4,
        sqlite: include_str!("../../../migrations/sqlite/0004_ends.sql"),
        postgres: include_str!("../../../migrations/postgres/0004_ends.sql"),
    },
    Migration {
        version: 5,
        sqlite: include_str!("../../../migrations/sqlite/0005_kept.sql"),
        postgres: include_str!("../../../migrations/postgres/0005_kept.sql"),
    },
    Migration {
        version: 6,
        sqlite: include_str!("../../../migrations/sqlite/0006_log.sql"),
        postgres: include_str!("../../../migrations/postgres/0006_log.sql"),
    },
    Migration {
        version: 7,
        sqlite: include_str!("../../../migrations/sqlite/0007_events.sql"),
        postgres: include_str!("../../../migrations/postgres/0007_events.sql"),
    },
    Migration {
        version: 8,
        sqlite: include_str!("../../../migrations/sqlite/0008_exports.sql"),
        postgres: include_str!("../../../migrations/postgres/0008_exports.sql"),
    },
    Migration {
        version: 9,
        sqlite: include_str!("../../../migrations/sqlite/0009_cards.sql"),
        postgres: include_str!("../../../migrations/postgres/0009_cards.sql"),
    },
    Migration {
        version: 10,
        sqlite: include_str!("../../../migrations/sqlite/0010_entries.sql"),
        postgres: include_str!("../../../migrations/postgres/0010_entries.sql"),
    },
    Migration {
        version: 11,
        sqlite: include_str!("../../../migrations/sqlite/0011_once.sql"),
        postgres: include_str!("../../../migrations/postgres/0011_once.sql"),
    },
    Migration {
        version: 12,
        sqlite: include_str!("../../../migrations/sqlite/0012_find.sql"),
        postgres: include_str!("../../../migrations/postgres/0012_find.sql"),
    },
    Migration {
        version: 13,
        sqlite: include_str!("../../../migrations/sqlite/0013_watch.sql"),
        postgres: include_str!("../../../migrations/postgres/0013_watch.sql"),
    },
    Migration {
        version: 14,
        sqlite: include_str!("../../../migrations/sqlite/0014_evidence.sql"),
        postgres: include_str!("../../../migrations/postgres/0014_evidence.sql"),
    },
    Migration {
        version: 15,
        sqlite: include_str!("../../../migrations/sqlite/0015_hand_overs.sql"),
        postgres: include_str!("../../../migrations/postgres/0015_hand_overs.sql"),
    },
];

/// The schema this program knows.
#[must_use]
pub fn schema_version() -> u32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// Why a database is not served from, or not migrated.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// There is no schema.
    #[error("the database has no schema yet: run `strongroom-vault migrate`")]
    Missing,
    /// The schema is older than this program.
    #[error(
        "the database has schema version {found}, this program needs {known}: run `strongroom-vault migrate`; what it needs is in migrations/README.md"
    )]
    Older {
        /// What the database has.
        found: u32,
        /// What this program needs.
        known: u32,
    },
    /// The schema is newer than this program.
    #[error("the database has schema version {found}, this program knows {known}: run the newer program")]
    Newer {
        /// What the database has.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// A migration that was applied is not the one this program carries.
    #[error(
        "schema version {version} of the database was made by another migration than this program carries"
    )]
    Differs {
        /// Which.
        version: u32,
    },
    /// The file cannot be made or opened.
    #[error("the database file cannot be used")]
    File(#[from] std::io::Error),
    /// The file can be read by others.
    #[error("the database file can be read by others than its owner: chmod 600 it")]
    FileMode,
    /// The database gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a database says it went through.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) version: i32,
    pub(super) sha256: Vec<u8>,
}

/// Names a migration's text.
pub(super) fn sha256(sql: &str) -> Vec<u8> {
    sha2::Sha256::digest(sql.as_bytes()).to_vec()
}

/// The migrations still to be applied, if what was applied is a beginning of what this program carries.
pub(super) fn pending(
    applied: &[Applied],
    text: fn(&Migration) -> &'static str,
) -> Result<&'static [Migration], SchemaError> {
    for (at, applied) in applied.iter().enumerate() {
        let found = u32::try_from(applied.version).unwrap_or(u32::MAX);
        match MIGRATIONS.get(at) {
            Some(known) if known.version == found && sha256(text(known)) == applied.sha256 => {}
            Some(known) if known.version == found => return Err(SchemaError::Differs { version: found }),
            _ => return Err(SchemaError::Newer { found, known: schema_version() }),
        }
    }
    Ok(&MIGRATIONS[applied.len()..])
}

/// Refuses every schema but the one this program knows. `None`: the database knows of no schema at all.
pub(super) fn refuse_unless_current(
    applied: Option<&[Applied]>,
    text: fn(&Migration) -> &'static str,
) -> Result<(), SchemaError> {
    let applied = applied.unwrap_or_default();
    match (pending(applied, text)?, applied.last()) {
        ([], Some(_)) => Ok(()),
        (_, None) => Err(SchemaError::Missing),
        (_, Some(last)) => Err(SchemaError::Older {
            found: u32::try_from(last.version).unwrap_or(0),
            known: schema_version(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(migrations: &[(i32, &str)]) -> Vec<Applied> {
        migrations.iter().map(|(version, sql)| Applied { version: *version, sha256: sha256(sql) }).collect()
    }

    #[test]
    fn only_the_known_schema_is_served_from() {
        let text = |migration: &Migration| migration.sqlite;
        let all: Vec<_> = MIGRATIONS.iter().map(|known| (known.version as i32, known.sqlite)).collect();
        assert!(refuse_unless_current(Some(&applied(&all)), text).is_ok());
        assert!(matches!(refuse_unless_current(None, text), Err(SchemaError::Missing)));
        assert!(matches!(refuse_unless_current(Some(&[]), text), Err(SchemaError::Missing)));
        let mut newer = all.clone();
        newer.push((99, "CREATE TABLE later"));
        assert!(matches!(
            refuse_unless_current(Some(&applied(&newer)), text),
            Err(SchemaError::Newer { found: 99, .. })
        ));
        let mut edited = all;
        edited[0].1 = "edited";
        assert!(matches!(
            refuse_unless_current(Some(&applied(&edited)), text),
            Err(SchemaError::Differs { version: 1 })
        ));
    }

    #[test]
    fn versions_count_from_one_without_a_gap() {
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, at + 1);
        }
    }
}
