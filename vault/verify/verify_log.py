#!/usr/bin/env python3
"""Verify an exported Strongroom audit log without Strongroom.

    pip install cryptography
    python3 verify_log.py FOLDER --vkey 'ORIGIN+ID+KEY'

Reads every entry, tile and checkpoint (C2SP tlog-tiles) and recomputes all of it from the entries: RFC 6962 hashes and roots,
Ed25519 signatures, the numbers of every instance's entries. Ends with 1 and the first thing that is wrong if anything is.
Written apart from the vault's own verifier, from the specifications: read it before you trust it.
"""
import argparse, base64, hashlib, json, pathlib, sys  # noqa: E401

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


class Damage(Exception):
    pass


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def perfect(hashes):  # of a power of two of them
    while len(hashes) > 1:
        hashes = [sha256(b"\x01", hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


class Tree:
    """RFC 6962 over everything appended; keeps the unfinished tile of each level."""

    def __init__(self):
        self.size, self.levels = 0, []

    def append(self, leaf):  # gives the tiles that are full now, as (level, number, hashes)
        self.size, full, level, value = self.size + 1, [], 0, leaf
        while True:
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(value)
            if len(self.levels[level]) < WIDTH:
                return full
            hashes, self.levels[level] = self.levels[level], []
            full.append((level, self.size // WIDTH ** (level + 1) - 1, hashes))
            level, value = level + 1, perfect(hashes)

    def root(self):
        peaks = []
        for hashes in reversed(self.levels):
            at = 0
            while at < len(hashes):
                width = 1 << ((len(hashes) - at).bit_length() - 1)
                peaks.append(perfect(hashes[at:at + width]))
                at += width
        root = peaks.pop() if peaks else sha256()
        while peaks:
            root = sha256(b"\x01", peaks.pop(), root)
        return root


class Key:
    def __init__(self, vkey):
        self.name, key_id, key = vkey.strip().split("+", 2)
        key = base64.b64decode(key, validate=True)
        self.id = sha256(self.name.encode(), b"\n", key)[:4]
        if key[0] != 1 or len(key) != 33 or self.id.hex() != key_id:
            raise ValueError("the key is not ORIGIN+ID+KEY")
        self.public = Ed25519PublicKey.from_public_bytes(key[1:])

    def open(self, note):
        text, _, signatures = note.partition("\n\n")
        text += "\n"
        lines = text.split("\n")
        if lines[0] != self.name:
            raise ValueError("another log's")
        for line in signatures.splitlines():
            dash, name, value = (line.split(" ") + ["", "", ""])[:3]
            signature = base64.b64decode(value) if dash == "—" and name == self.name else b""
            if signature[:4] == self.id:
                try:
                    self.public.verify(signature[4:], text.encode())
                    return int(lines[1]), base64.b64decode(lines[2], validate=True)
                except InvalidSignature:
                    break
        raise ValueError("not signed by the log's key")


def path(folder, kind, number, width):
    groups = ["%03d" % (number % 1000)]
    while number >= 1000:
        number //= 1000
        groups.insert(0, "x%03d" % (number % 1000))
    at = folder / kind / "/".join(groups)
    return at if width == WIDTH else at.with_name(at.name + ".p") / str(width)


def read(file):
    return file.read_bytes() if file.is_file() else None


def bundle(folder, number, width):
    data, entries, at = read(path(folder, "tile/entries", number, width)), [], 0
    while data is not None and at < len(data):
        length = int.from_bytes(data[at:at + 2], "big")
        entries.append(data[at + 2:at + 2 + length])
        at += 2 + length
    if data is None or len(entries) != width or at != len(data):
        raise Damage(f"entries from {number * WIDTH} on are missing or cut")
    return entries


def tile(folder, level, number, width):
    data = read(path(folder, f"tile/{level}", number, width))
    if data is None or len(data) != 32 * width:
        raise Damage(f"the tile over entries from {number * WIDTH ** (level + 1)} on is missing or malformed")
    return [data[at:at + 32] for at in range(0, len(data), 32)]


def compare(folder, level, number, hashes):
    for at, (made, stored) in enumerate(zip(hashes, tile(folder, level, number, len(hashes)))):
        if made != stored:
            where = (number * WIDTH + at) * WIDTH ** level
            raise Damage(f"entry {where} is not the one in the tree" if level == 0 else
                         f"the tile over entries from {where} on is not that of its entries")


def history(folder, key, number, good):
    data = read(path(folder, "history", number, WIDTH)) or b""
    blocks = data.decode().split("\n\n")
    if blocks.pop() != "" or len(blocks) % 2:
        raise Damage(f"a checkpoint after that of {good} entries is malformed")
    for text, signatures in zip(blocks[::2], blocks[1::2]):
        try:
            yield key.open(text + "\n\n" + signatures + "\n")
        except ValueError as error:
            raise Damage(f"a checkpoint after that of {good} entries is {error}") from None


def verify(folder, key, grows=False):  # grows: a log that goes on while it is read
    note = read(folder / "checkpoint")
    if note is None:
        sys.exit(f"there is no checkpoint in {folder}")
    try:
        size, root = key.open(note.decode())
    except ValueError as error:
        raise Damage(f"the newest checkpoint is {error}") from None
    tree, boots, good, held, due = Tree(), {}, 0, 0, {size: [root]}

    def hold():
        nonlocal good, held
        for expected in due.pop(tree.size, []):
            if tree.root() != expected:
                raise Damage(f"entries {good} to {tree.size} are not those of the checkpoint of {tree.size} entries")
            good, held = tree.size, held + 1

    for first in range(0, max(size, 1), WIDTH):
        if first % 65536 == 0:
            for at, expected in history(folder, key, first >> 16, good):
                if at > size and not grows:
                    raise Damage(f"entries {size} to {at} are not those of the checkpoint of {at} entries")
                due.setdefault(at, []).append(expected)
        hold()
        width = min(WIDTH, size - first)
        if width == 0:
            break
        entries = bundle(folder, first // WIDTH, width)
        compare(folder, 0, first // WIDTH, [sha256(b"\x00", entry) for entry in entries])
        for entry in entries:
            fields = json.loads(entry)
            if fields["instance_seq"] != boots.get(fields["boot_id"], 0):
                raise Damage(f"entry {tree.size} is not the next of its boot")
            boots[fields["boot_id"]] = fields["instance_seq"] + 1
            for level, number, hashes in tree.append(sha256(b"\x00", entry)):
                if level:
                    compare(folder, level, number, hashes)
            hold()
    for level, hashes in enumerate(tree.levels):
        if level and hashes:
            compare(folder, level, tree.size // WIDTH ** (level + 1), hashes)
    later = (size >> 16) + 1
    if not grows and read(path(folder, "history", later, WIDTH)) is not None:
        raise Damage(f"entries {size} to {later << 16} are not those of the checkpoint of {later << 16} entries")
    return f"{tree.size} entries of {len(boots)} boots and {held} checkpoints hold; root {root.hex()}"


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("folder", type=pathlib.Path)
    asked.add_argument("--vkey", required=True)
    arguments = asked.parse_args()
    try:
        print(verify(arguments.folder, Key(arguments.vkey)))
    except Damage as damage:
        print(f"first: {damage}")
        sys.exit(1)
