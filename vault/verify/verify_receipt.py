#!/usr/bin/env python3
"""Verify an answered receipt of a Strongroom audit log without Strongroom.

    pip install cryptography
    python3 verify_receipt.py RECEIPT.json --vkey 'ORIGIN+ID+KEY' [--log FOLDER] [--hash-only]

RECEIPT.json is the body of `GET /v1/audit/receipts/{id}`. Checks the checkpoint's signature, that the entries are those the
receipt names, and that each is in the tree (RFC 9162 §2.1.3.2). Ends with 1 and the first thing that is wrong if anything is. What binds
an entry to a receipt is in the entry's bytes: without them any entry of the tree would do, so it ends with 1 unless --hash-only.
FOLDER is an exported log: its hand-overs lead from a key that came after the answer.
Written apart from the vault's own verifier, from the specifications: read it before you trust it.
"""
import argparse, itertools, json, pathlib, sys  # noqa: E401

from verify_log import Damage, Key, Keys, path, read, sha256


def included(leaf, index, size, proof, root):
    if not 0 <= index < size:
        return False
    place, last, value = index, size - 1, leaf
    for beside in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            value = sha256(b"\x01", beside, value)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = sha256(b"\x01", value, beside)
        place, last = place >> 1, last >> 1
    return last == 0 and value == root


def verify(receipt, key, notes=()):
    if receipt.get("state") != "sequenced":
        raise Damage("the receipt holds no proof: ask for it again")
    try:
        size, root = Keys(key, notes or receipt.get("hand_overs", [])).open(receipt["checkpoint"])
    except ValueError as error:
        raise Damage(f"the checkpoint is {error}") from None
    boot, first, count = (receipt["id"] + ".1").split(".")[:3]
    if len(receipt["entries"]) != int(count):
        raise Damage(f"the receipt names {count} entries and holds {len(receipt['entries'])}")
    not_shown = []
    for seq, entry in enumerate(receipt["entries"], int(first)):
        index, leaf_hash = entry["index"], bytes.fromhex(entry["leaf_hash"])
        if entry.get("leaf") is not None:
            fields = json.loads(entry["leaf"])
            named = fields["boot_id"] == boot and fields["instance_seq"] == seq
            if not named or sha256(b"\x00", entry["leaf"].encode()) != leaf_hash:
                raise Damage(f"entry {index} is not the one the receipt names")
        else:
            not_shown.append(index)
        if not included(leaf_hash, index, size, [bytes.fromhex(part) for part in entry["proof"]], root):
            raise Damage(f"entry {index} is not in the tree of the checkpoint")
    places = ", ".join(str(entry["index"]) for entry in receipt["entries"])
    lines = [f"entries {places} are in the tree of {size} entries; root {root.hex()}"]
    lines += [f"entry {index} is in the tree; that it is this receipt's entry is the vault's word" for index in not_shown]
    return "\n".join(lines), not not_shown


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("receipt", type=pathlib.Path)
    asked.add_argument("--vkey", required=True)
    asked.add_argument("--log", type=pathlib.Path, help="an exported log, for its hand-overs")
    asked.add_argument("--hash-only", action="store_true", help="take the vault's word for entries that are not shown")
    arguments = asked.parse_args()
    try:
        files = (read(path(arguments.log, "handover", number)) for number in itertools.count()) if arguments.log else []
        notes = [note.decode() for note in itertools.takewhile(bool, files)]
        said, is_shown = verify(json.loads(arguments.receipt.read_text()), Key(arguments.vkey), notes)
        print(said)
        sys.exit(0 if is_shown or arguments.hash_only else 1)
    except Damage as damage:
        print(f"first: {damage}")
        sys.exit(1)
