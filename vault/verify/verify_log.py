#!/usr/bin/env python3
"""Verify an exported Strongroom audit log without Strongroom.

    python3 verify_log.py FOLDER --vkey 'ORIGIN+ID+KEY'

Reads every entry, tile and checkpoint (C2SP tlog-tiles) and recomputes all of it from the entries: RFC 6962 hashes and roots,
Ed25519 signatures, hand-overs from key to key, the numbers of every instance's entries. Ends with 1 and the first thing that is
wrong if anything is. Written apart from the vault's own verifier, from the specifications: read it before you trust it.
"""
import argparse, base64, contextlib, hashlib, itertools, json, pathlib, sys  # noqa: E401

from cryptography.exceptions import InvalidSignature  # pip install cryptography
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


class Damage(Exception):
    pass


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def root_of(hashes):  # RFC 6962 section 2.1, from hashes of entries or of full tiles and what follows them
    half = 1 << ((len(hashes) - 1).bit_length() - 1) if len(hashes) > 1 else 0
    return sha256(b"\x01", root_of(hashes[:half]), root_of(hashes[half:])) if half else hashes[0]


class Tree:  # RFC 6962 over everything appended; keeps the unfinished tile of each level
    def __init__(self):
        self.size, self.levels = 0, [[] for _ in range(8)]

    def append(self, leaf):  # gives the tiles that are full now, as (level, number, hashes)
        self.size, full, level, value = self.size + 1, [], 0, leaf
        while True:
            self.levels[level].append(value)
            if len(self.levels[level]) < WIDTH:
                return full
            hashes, self.levels[level] = self.levels[level], []
            full.append((level, self.size // WIDTH ** (level + 1) - 1, hashes))
            level, value = level + 1, root_of(hashes)

    def root(self):
        below = []
        for hashes in self.levels:
            below = [root_of(hashes + below)] if hashes + below else []
        return below[0] if below else sha256()


class Key:
    def __init__(self, vkey):
        self.vkey = vkey.strip()
        self.name, key_id, key = self.vkey.split("+", 2)
        key = base64.b64decode(key, validate=True)
        self.id = sha256(self.name.encode(), b"\n", key)[:4]
        if key[0] != 1 or len(key) != 33 or self.id.hex() != key_id:
            raise ValueError("the key is not ORIGIN+ID+KEY")
        self.public = Ed25519PublicKey.from_public_bytes(key[1:])

    def open(self, note):
        text, _, signatures = note.partition("\n\n")
        lines, ours = text.split("\n"), f"— {self.name} "
        if lines[0] != self.name:
            raise ValueError("another log's")
        for line in signatures.splitlines():
            signature = base64.b64decode(line[len(ours):]) if line.startswith(ours) else b""
            if signature[:4] == self.id:
                with contextlib.suppress(InvalidSignature):
                    self.public.verify(signature[4:], text.encode() + b"\n")
                    return int(lines[1]), base64.b64decode(lines[2], validate=True)
        raise ValueError("not signed by the log's key")


class Keys:  # of the log in their order, by hand-overs that the key before and its successor signed; one of them is known
    def __init__(self, known, notes):
        self.notes, self.made, chain = notes, [], []
        for number, note in enumerate(notes):
            with contextlib.suppress(ValueError, IndexError):
                label, before, after = note.partition("\n\n")[0].split("\n", 3)[3].split(" ")
                made, chain = Key(before).open(note), chain or [before]
                follows = before == chain[-1] and after not in chain and [made[0]] > [at for at, _ in self.made[-1:]]
                if follows and label == "strongroom/hand-over/v1" and made == Key(after).open(note):
                    self.made, chain = self.made + [made], chain + [after]
            if len(self.made) == number:
                raise Damage(f"hand-over {number} is malformed, not signed by both of its keys, or does not follow the one before")
        self.keys = [Key(vkey) for vkey in chain] or [known]
        if known.vkey not in [key.vkey for key in self.keys]:
            raise Damage("the key given is none of the log's: a hand-over is missing, or it is another log's key")

    def open(self, note):  # by the key of its time: up to a hand-over and with it the one before
        size = int((note.split("\n") + [""])[1])
        return self.keys[sum(at < size for at, _ in self.made)].open(note)


def path(folder, kind, number, width=WIDTH):
    name = "%03d" % (number % 1000)
    while number >= 1000:
        number, name = number // 1000, "x%03d/" % (number // 1000 % 1000) + name
    return folder / kind / (name if width == WIDTH else f"{name}.p/{width}")


def read(file):
    return file.read_bytes() if file.is_file() else None


def bundle(folder, number, width):
    data, entries, at = read(path(folder, "tile/entries", number, width)) or b"", [], 0
    while at < len(data):
        start, at = at + 2, at + 2 + int.from_bytes(data[at:at + 2], "big")
        entries.append(data[start:at])
    if len(entries) != width or at != len(data):
        raise Damage(f"entries from {number * WIDTH} on are missing or cut")
    return entries


def compare(folder, level, number, hashes):  # with the tile that is there
    data, where = read(path(folder, f"tile/{level}", number, len(hashes))) or b"", number * WIDTH ** (level + 1)
    if len(data) != 32 * len(hashes):
        raise Damage(f"the tile over entries from {where} on is missing or malformed")
    for at, made in enumerate(hashes):
        if made != data[32 * at:32 * at + 32]:
            where += at * WIDTH ** level
            raise Damage(f"entry {where} is not the one in the tree" if level == 0 else
                         f"the tile over entries from {where} on is not that of its entries")


def history(folder, keys, number, good, size):
    data = read(path(folder, "history", number))
    *blocks, end = (data or b"").decode().split("\n\n")
    if end != "" or len(blocks) % 2:
        raise Damage(f"a checkpoint after that of {good} entries is malformed")
    notes = [text + "\n\n" + signatures + "\n" for text, signatures in zip(blocks[::2], blocks[1::2])]
    for note, (at, _) in zip(keys.notes, keys.made):
        if data is not None and at >> 16 == number and at < size and note not in notes:
            raise Damage(f"the hand-over at {at} entries is not in the history")
    try:
        return [keys.open(note) for note in notes]
    except ValueError as error:
        raise Damage(f"a checkpoint after that of {good} entries is {error}") from None


def verify(folder, key, grows=False):  # grows: a log that goes on while it is read
    note = read(folder / "checkpoint") or sys.exit(f"there is no checkpoint in {folder}")
    hand_overs = itertools.takewhile(bool, (read(path(folder, "handover", number)) for number in itertools.count()))
    keys = Keys(key, [note.decode() for note in hand_overs])
    try:
        size, root = keys.open(note.decode())
    except ValueError as error:
        raise Damage(f"the newest checkpoint is {error}") from None
    tree, boots, good, held, due = Tree(), {}, 0, 0, {at: [expected] for at, expected in keys.made}
    due[size] = due.get(size, []) + [root]

    def hold():
        nonlocal good, held
        if roots := due.pop(tree.size, []):
            if set(roots) != {tree.root()}:
                raise Damage(f"entries {good} to {tree.size} are not those of the checkpoint of {tree.size} entries")
            good, held = tree.size, held + len(roots)

    for first in range(0, size + 1, WIDTH):
        if first % 65536 == 0:
            for at, expected in history(folder, keys, first >> 16, good, size):
                if at < first: raise Damage(f"a checkpoint after that of {good} entries is malformed")
                if at > size and not grows:
                    raise Damage(f"entries {size} to {at} are not those of the checkpoint of {at} entries")
                due.setdefault(at, []).append(expected)
        hold()
        if first == size: break
        entries = bundle(folder, first // WIDTH, min(WIDTH, size - first))
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
    if not grows and read(path(folder, "history", (size >> 16) + 1)) is not None:
        raise Damage("entries {0} to {1} are not those of the checkpoint of {1} entries".format(size, (size >> 16) + 1 << 16))
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
