"""Verify an exported log with a verifier of C2SP transparency logs that others published: FOLDER VKEY.

Checks the newest checkpoint's signature, every tile and entry bundle against its root, and that each checkpoint of the history is
consistent with the next, all by the package's own code.
"""
import itertools, pathlib, sys  # noqa: E401

from aics_tlog import FileSystemTileReader, audit_tiles, consistency_proof_from_tiles, parse_checkpoint, parse_note
from aics_tlog import parse_vkey, verify_checkpoint, verify_consistency


def opened(text, key):
    note = parse_note(text)
    if not verify_checkpoint(note, key).log_ok:
        sys.exit("first: a checkpoint is not signed by the key")
    checkpoint = parse_checkpoint(note.text)
    return checkpoint.size, checkpoint.root


folder, key = pathlib.Path(sys.argv[1]), parse_vkey(sys.argv[2])
reader = FileSystemTileReader(folder)
size, root = opened((folder / "checkpoint").read_text(), key)
audited = audit_tiles(reader, size, root)
found = [(0, None)]
for number in range((size >> 16) + 1):
    file = folder / "history" / f"{number:03}"
    blocks = file.read_text().split("\n\n")[:-1] if file.exists() else []
    found += [opened(f"{text}\n\n{signatures}\n", key) for text, signatures in zip(blocks[::2], blocks[1::2])]
for (old, before), (new, after) in itertools.pairwise(found[1:]):
    proof = consistency_proof_from_tiles(reader, old, new, size)
    if not verify_consistency(old, new, before, after, proof):
        sys.exit(f"first: the checkpoint of {new} entries does not continue that of {old}")
print(f"{size} entries in {audited.tiles} tiles and {audited.bundles} bundles, {len(found) - 1} checkpoints consistent; root {root.hex()}")
