//! The signed log in SQLite.

use sqlx::Row as _;
use strongroom_domain::{BootId, DataKeyId, Timestamp};
use uuid::Uuid;

use super::SqliteStore;
use crate::audit::tree::{Hash, Tile, TileId};
use crate::audit::{EntryId, Leaf};
use crate::store::decode::{bytes32, count, sqlite as read};
use crate::store::encode::signed;
use crate::store::error::StoreError;
use crate::store::hand_over::sqlite as hand_over;
use crate::store::log::{
    Extension, KeptCheckpoint, KeptHandOver, Lease, LogHead, LogStore, Run, TILES_READ_MAX, joined, log_store,
};
use crate::store::rows::StoredEntry;

log_store!(SqliteStore, log_readers, sweeper, "BEGIN IMMEDIATE");
