//! Any bytes as an entry, a checkpoint, a log's key, a tile, a proof: no panic, and only what this log's key signed or this
//! tree holds is believed. Input: what it is (a byte), then the bytes.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use strongroom_sealing::{DataKey, LogSigner};
use strongroom_vault::audit::tree::{Hash, Tile, TileId, Tree, consistency_holds, inclusion_holds};
use strongroom_vault::audit::{Checkpoint, EntryMac, Leaf, LogKey, Origin};

struct Log {
    key: LogKey,
    root: Hash,
    note: String,
}

const LEAVES: u64 = 5;

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let origin = Origin::parse("fuzz.test/log").expect("an origin");
        let signer = LogSigner::derive(&DataKey::take(&mut [9; 32]), origin.as_str());
        let key = LogKey::of(&signer, &origin);
        let mut tree = Tree::default();
        tree.append((0..LEAVES).map(|number| Hash::of_leaf(&number.to_be_bytes())));
        let note = Checkpoint { origin, size: LEAVES, root: tree.root() }.sign(&signer);
        Log { key, root: tree.root(), note }
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((what, bytes)) = input.split_first() else { return };
    match what % 4 {
        0 => entry(bytes),
        1 => note(bytes),
        2 => tile(bytes),
        _ => proof(bytes),
    }
});

fn entry(bytes: &[u8]) {
    let leaf = Leaf::from_bytes(bytes.to_vec());
    let _ = leaf.time();
    let Ok(read) = leaf.read() else { return };
    assert!(!read.fields.contains_key("mac"));
    // Nobody without the key can have made it.
    assert!(
        !read.is_authentic(&EntryMac::new(|_| [1; 32]))
            || bytes.windows(64).any(|run| run == [b"01"; 32].concat())
    );
}

fn note(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let log = log();
    if let Ok(key) = LogKey::parse(text) {
        assert_eq!(LogKey::parse(&key.to_string()).as_ref(), Ok(&key));
    }
    if let Ok(checkpoint) = log.key.open(text) {
        assert_eq!((checkpoint.size, checkpoint.root), (LEAVES, log.root));
    }
    // The log's own note with one part changed: still only what was signed.
    if let Some(position) = bytes.first().map(|at| usize::from(*at) % log.note.len())
        && log.note.is_char_boundary(position)
        && let Ok(checkpoint) =
            log.key.open(&format!("{}{}", &log.note[..position], text.get(1..).unwrap_or_default()))
    {
        assert_eq!((checkpoint.size, checkpoint.root), (LEAVES, log.root));
    }
}

fn tile(bytes: &[u8]) {
    let id = TileId { level: 0, number: 0 };
    let Some(tile) = Tile::read(id, bytes) else { return };
    assert_eq!(tile.bytes(), bytes);
    let mut tree = Tree::default();
    tree.append(tile.hashes.iter().copied());
    assert_eq!(tree.size(), tile.hashes.len() as u64);
}

fn proof(bytes: &[u8]) {
    let log = log();
    let Some((numbers, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (index, size) = (u64::from(numbers[0]), u64::from(numbers[1]));
    let Some(tile) = Tile::read(TileId { level: 0, number: 0 }, rest) else { return };
    let leaf = Hash::of_leaf(b"not in the tree");
    assert!(!inclusion_holds(leaf, index, size, &tile.hashes, log.root));
    let _ = consistency_holds(index, log.root, size, tile.hashes[0], &tile.hashes);
}
