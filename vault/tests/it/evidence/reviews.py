"""Reviews as vault/docs/reviews.md describes them, apart from the vault: signatures, what they are of, when they are due."""
import base64, collections, datetime, hashlib, json  # noqa: E401

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def due(last, days):
    """The end of the day (UTC) that is so many days after the day of the last one."""
    day = last.astimezone(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + datetime.timedelta(days=days + 1)


def verified(path, index, entry):
    """The record in a file, if it is the one this entry names, signed by the certificate this entry names. Raises otherwise."""
    told = json.loads(path.read_text())
    message = b"strongroom/review/v1\0" + told["record"].encode()
    der = base64.b64decode(told["certificate"])
    names = (hashlib.sha256(message).hexdigest(), hashlib.sha256(der).hexdigest(), index)
    assert names == (entry["obj"]["ref"], entry["actor"]["cert_sha256"], told["index"]), f"{path}: not the review of entry {index}"
    key, signature = x509.load_der_x509_certificate(der).public_key(), base64.b64decode(told["signature"])
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, message, ec.ECDSA({256: hashes.SHA256, 384: hashes.SHA384}[key.key_size]()))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    else:
        raise ValueError(f"{path}: a key of another kind")
    record = json.loads(told["record"])
    assert canonical(record) == told["record"], f"{path}: not canonical"
    said = (record["reviewer"], record["decision"], record["number"], f"review.{record['kind']}")
    assert said == (entry["actor"]["id"], entry["rsn"], entry["n"], entry["evt"]), f"{path}: says something else"
    return told["record"]


def subject(record, entries, leaves, log):
    """Whether a review of the log is of what the log holds. What access was is named by its hash alone."""
    if record["kind"] == "access":
        return all(len(record["access"][name]) == 64 for name in ("access_sha256", "bundle_sha256"))
    of = record["entries"]
    tree = log.Tree()
    for leaf in leaves[:of["size"]]:
        tree.append(log.sha256(b"\x00", leaf))
    counted = entries[of["from"]:of["size"]]
    rows = collections.Counter((e["evt"], e["out"]) for e in counted)
    findings = collections.Counter(e["rsn"] for e in counted if e["evt"] == "anomaly.found")
    times = sorted((time(e["ts"]), e["ts"]) for e in counted)
    digest = {
        "from": of["from"], "size": of["size"], "root": tree.root().hex(), "unreadable": 0, "findings": dict(findings),
        "events": [{"event": event, "outcome": outcome, "entries": n} for (event, outcome), n in sorted(rows.items())],
        **({"first": times[0][1], "last": times[-1][1]} if times else {}),
    }
    sha256 = hashlib.sha256(b"strongroom/log-digest/v1\0" + canonical(digest).encode()).hexdigest()
    refused = sum(e["out"] != "success" for e in counted)
    return (tree.root().hex(), sha256, refused, sum(findings.values())) == (of["root"], of["digest_sha256"], of["refused"], of["findings"])
