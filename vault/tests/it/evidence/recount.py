#!/usr/bin/env python3
"""Count everything in an evidence bundle again: LOG-FOLDER BUNDLE-FOLDER VKEY-FILE DATABASE.

Reads the exported log with the functions of vault/verify/verify_log.py, written apart from the vault, and compares: evidence.json,
every CSV counted from the log, every number on every page, every sample with its proof, every review with its signature and what it is of,
and what access is compared with. Ends with 1 and the first difference.
"""
import base64, collections, csv, datetime, hashlib, html.parser, json, pathlib, re, sqlite3, sys  # noqa: E401

import reviews as signed
import verify_log as log

folder, bundle, vkey, database = map(pathlib.Path, sys.argv[1:5])
key = log.Key(vkey.read_text())
log.verify(folder, key)
size, root = key.open((bundle / "log/checkpoint").read_text())
facts = json.loads((bundle / "evidence.json").read_text())


def same(what, ours, theirs):
    if ours != theirs:
        sys.exit(f"{what}: counted {ours!r}, the bundle says {theirs!r}")


def time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


# The entries of the checkpoint, and that they are those it signs.
newest, _ = key.open((folder / "checkpoint").read_text())
tree, leaves = log.Tree(), []
for first in range(0, newest, log.WIDTH):
    leaves += log.bundle(folder, first // log.WIDTH, min(log.WIDTH, newest - first))
leaves = leaves[:size]
for leaf in leaves:
    tree.append(log.sha256(b"\x00", leaf))
same("root", tree.root().hex(), root.hex())
same("checkpoint size", size, facts["about"]["checkpoint_size"])
same("checkpoint root", root.hex(), facts["about"]["checkpoint_root"])
since, until = time(facts["about"]["from"]), time(facts["about"]["until"])
entries = [json.loads(leaf) for leaf in leaves]
now = [(at, e) for at, e in enumerate(entries) if since <= time(e["ts"]) < until]
ever = [e for e in entries if time(e["ts"]) < until]
same("entries", len(now), facts["log"]["entries"])
same("before", len(ever) - len(now), facts["log"]["before"])
same("after", len(entries) - len(ever), facts["log"]["after"])
same("unreadable", 0, facts["log"]["unreadable"])

# Which requirement an event is for: from the document, not from the program.
document = (pathlib.Path(__file__).parents[3] / "docs/audit-format.md").read_text()
requirement = dict(re.findall(r"^\| `([a-z_.]+)` \| ([0-9.]+) \|", document, re.M))


def count(rows):
    return dict(collections.Counter(rows))


def table(section, *members):
    rows = facts["log"][section]["rows"]
    same(f"{section}: not itemised", 0, facts["log"][section]["not_itemised"])
    return {tuple(row[member] for member in members): row["count"] for row in rows if row["count"]}


def file(name, *columns):
    with open(bundle / f"csv/{name}.csv", newline="") as lines:
        return [tuple(row[column] for column in columns) for row in csv.DictReader(lines)]


def both(section, name, members, columns, rows):
    rows = count(rows)
    same(section, rows, table(section, *members))
    filed = {row[:-1]: int(row[-1]) for row in file(name, *columns)}
    same(f"csv/{name}.csv", rows, filed)
    return rows


events = both("events", "events", ["requirement", "event", "outcome"], ["requirement", "event", "outcome", "entries"],
              [(requirement[e["evt"]], e["evt"], e["out"]) for _, e in now])
refusals = both("refusals", "refusals", ["event", "outcome", "reason", "actor"], ["event", "outcome", "reason", "who", "entries"],
                [(e["evt"], e["out"], e.get("rsn", "-"), e["actor"]["id"]) for _, e in now if e["out"] != "success"])
both("tls", "tls", ["version", "suite", "group"], ["version", "suite", "group", "entries"],
     [(t["ver"], t["suite"], t["group"]) for _, e in now for t in [e.get("src", {}).get("tls")] if t])
certificates = both("certificates", "certificates-seen", ["actor", "certificate_sha256"],
                    ["identity", "certificate sha-256", "entries"],
                    [(e["actor"]["id"], e["actor"]["cert_sha256"]) for _, e in now if "cert_sha256" in e["actor"]])
forwards = both("forwards", "forwards", ["account", "host", "call", "caller", "proxy", "outcome"],
                ["route/account", "host", "call", "on behalf of", "said by", "outcome", "cards"],
                [(f"{d['route_id']}/{d['account']}", d["host"], f"{d['method']} {d['path']}", e["actor"]["id"], e["asserted_by"], e["out"])
                 for _, e in now if e["evt"] == "pan.forward" for d in [e.get("dst")] if d])
codes = collections.Counter(e["out"] for _, e in now if e["evt"] == "pan.forward" and "cvc" in e.get("dst", {}).get("attributes", []))
same("codes", {"released": codes["success"], "denied": codes["denied"], "failed": codes["failure"]}, facts["log"]["codes"])
changes = {"policy.activate", "config.reload", "tenant.create", "tenant.change", "dek.create", "dek.destroy", "db.migrate", "audit.start",
           "audit.stop", "export.request", "export.approve", "export.run", "workload.suspend",
           "workload.resume", "evidence.make", "review.access", "review.log"}
same("changes", [at for at, e in now if e["evt"] in changes], [row["index"] for row in facts["log"]["changes"]])
same("csv/changes.csv", [str(at) for at, e in now if e["evt"] in changes], [row[0] for row in file("changes", "entry")])

# Starts and ends.
boots = collections.defaultdict(list)
for e in ever:
    boots[e["boot_id"]].append(e)
for boot, rows in boots.items():
    told = facts["log"]["boots"]["rows"][boot]
    same(f"numbers of {boot}", list(range(len(rows))), [e["instance_seq"] for e in rows])
    same(f"boot {boot}", (rows[0]["iid"], len(rows), rows[0]["evt"] == "audit.start", any(e["evt"] == "audit.stop" for e in rows), 0),
         tuple(told[name] for name in ["instance", "entries", "started", "stopped", "missing"]))
same("boots", set(boots), set(facts["log"]["boots"]["rows"]))

READING = ["audit.read", "audit.verify"]
# The last use of every grant, from this page's own idea of which event is the use of which.
uses = {"Tokenize": ["pan.tokenize"], "Import": ["pan.tokenize"], "ReadCard": ["pan.lookup", "pan.list"], "MatchFingerprint": ["pan.match"],
        "OpenForward": ["pan.forward"], "RecordOutcome": ["forward.outcome"], "ReconcileForward": ["forward.reconcile"],
        "ReadForward": ["forward.read"], "ExportCards": ["pan.export", "export.request", "export.approve", "export.run", "export.read"],
        "EraseCard": ["record.shred"], "UpdateCard": ["record.update"], "RestoreCard": ["record.restore"],
        "ManageEvents": ["events.read", "events.replay"], "ManageTenant": ["tenant.create", "tenant.change", "tenant.read"],
        "ReviewAccess": ["review.access", "review.read"], "ReviewLog": ["review.log", "audit.read"],
        "ManageKeys": ["dek.create"], "ReadEvidence": ["retention.read", "evidence.make", "suspension.read"],
        "SuspendWorkload": ["workload.suspend"], "ResumeWorkload": ["workload.resume", "evidence.read"], "ReadAudit": READING, "ReadReceipt": READING, "ReadTenantAudit": READING}
# Who is suspended, by the whole log.
suspended = {}
for e in entries:
    if e["out"] == "success" and e["evt"] == "workload.suspend" and e["rsn"] != "already":
        suspended[e["obj"]["ref"]] = e["ts"]
    if e["out"] == "success" and e["evt"] == "workload.resume":
        same("since", suspended.pop(e["obj"]["ref"]), e["suspension"]["since"])
standings = collections.Counter()
long_ago = until - datetime.timedelta(days=90)
for grant in facts["access"]["grants"]:
    def used(e):
        if e["out"] != "success" or e["evt"] not in uses.get(grant["action"], []):
            return False
        if e["evt"] == "audit.read" and (e.get("rsn") == "digest") != (grant["action"] == "ReviewLog"):
            return False
        who = e.get("asserted_by", e["actor"]["id"]) if grant["action"] in ("OpenForward", "RecordOutcome") else e["actor"]["id"]
        if who != grant["workload"] or (e["evt"] == "record.shred" and e.get("rsn") != "hidden"):
            return False
        d = e.get("dst") or {}
        return grant["action"] != "OpenForward" or (
            e["actor"]["id"] == grant["caller"] and f"{d.get('route_id')}/{d.get('account')}" == grant["account"])
    found = [e["ts"] for e in ever if used(e)]
    name = f"{grant['workload']} {grant['action']} {grant.get('account')}"
    same(f"last use of {name}", max(found, key=time) if found else None, grant["last_use"])
    same(f"uses of {name}", sum(since <= time(ts) for ts in found), grant["uses"])
    oldest = min(time(e["ts"]) for e in entries)
    standing = ("not-recorded" if grant["action"] not in uses else "in-use" if found and max(map(time, found)) >= long_ago else
                "unused" if oldest <= long_ago else "log-too-young")
    same(f"standing of {name}", standing, grant["standing"])
    standings[standing] += 1
    since_when = suspended.get(grant["workload"], suspended.get(grant.get("caller")))
    same(f"suspension of {name}", since_when, grant["suspended_since"])
    standings["suspended"] += since_when is not None
same("csv/access.csv: suspended", [grant["suspended_since"] or "-" for grant in facts["access"]["grants"]],
     [row[0] for row in file("access", "suspended since")])
same("csv/access.csv", [str(grant["uses"]) for grant in facts["access"]["grants"]], [row[0] for row in file("access", "uses")])

# Keys: each with the one of its tenant and purpose that it took over from.
newest, rotations = {}, []
for at, e in enumerate(entries):
    if e["evt"] not in ("dek.create", "audit.start") or e["out"] != "success" or time(e["ts"]) >= until:
        continue
    start = e["evt"] == "audit.start"
    name = ("-", "audit-signing") if start else (e["obj"].get("tenant", "-"), e["obj"]["purpose"])
    is_now, was = (e["key"]["dek_id"], e["key"].get("kek_ref", "")), newest.get(name)
    if was and was[0] == is_now[0]:
        continue
    newest[name] = is_now
    what = "first" if not was else "log-key" if start else "data-key" if was[1] == is_now[1] else "kms-key"
    if time(e["ts"]) >= since:
        rotations.append((at, *name, is_now[0], is_now[1], was[0] if was else "", what))
members = ["index", "scope", "purpose", "key", "kms_key", "follows", "what"]
same("rotations", rotations, [tuple(row[member] for member in members) for row in facts["log"]["rotations"]["rows"]])
same("csv/rotations.csv", [str(row[0]) for row in rotations], [row[0] for row in file("rotations", "entry")])
rotated = collections.Counter(row[-1] for row in rotations)

# Reviews: those of the log, each with a record that its entry names; and whether they came in time.
store = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
overdue, wrong, came_late, reviewed = {}, {}, {}, {}
for told in facts["reviews"]:
    kind, before, last = told["kind"], min(time(e["ts"]) for e in entries), None
    same(f"days of {kind}", {"access": 180, "log": 1}[kind], told["days"])
    came_late[kind], wrong[kind], numbers = 0, 0, []
    for at, e in enumerate(entries):
        if e["evt"] != f"review.{kind}" or e["out"] != "success" or e["rsn"] == "unchanged" or time(e["ts"]) >= until:
            continue
        if time(e["ts"]) >= since:
            came_late[kind] += time(e["ts"]) >= signed.due(before, told["days"])
            record = json.loads(signed.verified(bundle / f"reviews/{kind}-{e['n']}.json", at, e))
            same(f"what review {e['n']} of {kind} is of", signed.subject(record, entries, leaves, log), True)
            numbers.append((at, e["n"], record["person"], record["remarks"], e["rsn"]))
        before = last = time(e["ts"])
    members = ["index", "number", "person", "remarks", "decision"]
    same(f"reviews of {kind}", numbers, [tuple(row[member] for member in members) for row in told["filed"]])
    same(f"records of {kind}", [], [row for row in told["filed"] if row["wrong"]])
    overdue[kind] = signed.due(before, told["days"]) <= until
    same(f"in time {kind}", (came_late[kind], overdue[kind], last), (told["late"], told["overdue"], last and time(told["last"])))
    reviewed[kind] = len(numbers)
same("csv/reviews.csv", sum(reviewed.values()), len(file("reviews", "entry")))

# What access is compared with: the first bundle made in the period, or else the newest before it.
matrix = (bundle / "access.json").read_bytes()
same("access.json", hashlib.sha256(b"strongroom/access/v1\0" + matrix).hexdigest(), facts["access"]["access_sha256"])
canonical = signed.canonical
granted = [{name: value for name, value in row.items() if name not in ("last_use", "uses", "standing", "suspended_since")} for row in facts["access"]["grants"]]
same("grants", [canonical(row) for row in json.loads(matrix)["rows"]], [canonical(row) for row in granted])
made = [(at, e) for at, e in enumerate(entries) if e["evt"] == "evidence.make" and e["out"] == "success"]
first = [row for row in made if since <= time(row[1]["ts"]) < until][:1] or [row for row in made if time(row[1]["ts"]) < since][-1:]
difference = facts["access"]["difference"]
added = removed = alike = 0
if first:
    (at, e), = first
    same("compared with", (at, e["obj"]["ref"]), (difference["since"]["index"], difference["since"]["manifest_sha256"]))
    (manifest, access), = store.execute("SELECT manifest, access FROM evidence_bundles WHERE sha256 = ?", (bytes.fromhex(e["obj"]["ref"]),))
    same("manifest before", hashlib.sha256(manifest.encode()).hexdigest(), e["obj"]["ref"])
    same("matrix before", True, f"{hashlib.sha256(access.encode()).hexdigest()}  access.json\n" in manifest)
    were, are = ({canonical(row) for row in json.loads(text)["rows"]} for text in (access, matrix))
    added, removed, alike = len(are - were), len(were - are), len(are & were)
    same("added", sorted(are - were), sorted(map(canonical, difference["added"])))
    same("removed", sorted(were - are), sorted(map(canonical, difference["removed"])))
    same("csv/access-changes.csv", added + removed, len(file("access-changes", "change")))
else:
    same("compared with nothing", "first-bundle", difference["state"])

# The register of PSPs, by its days.
register = facts["psp_register"]["rows"] if facts["psp_register"] else []
same("csv/psp-register.csv", [row["route"] for row in register], [route for route, in file("psp-register", "route")])
same("routes of the register", [psp["route"] for psp in facts["psps"]], [row["route"] for row in register] or [psp["route"] for psp in facts["psps"]])
for row in register:
    ends = row["valid_until"] and time(row["valid_until"] + "T00:00:00Z") + datetime.timedelta(days=1)
    same(f"attestation of {row['route']}", "none" if not ends else "stands" if ends >= until else "over", row["standing"])

# Samples: the least scores of each requirement, and the proof of each.
def within(leaf, index, proof):  # RFC 9162 2.1.3.2
    place, last, value = index, size - 1, log.sha256(b"\x00", leaf)
    for beside in proof:
        if place % 2 or place == last:
            value = log.sha256(b"\x01", beside, value)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            value = log.sha256(b"\x01", value, beside)
        place, last = place >> 1, last >> 1
    return last == 0 and value == root


strata = collections.defaultdict(list)
for at, e in now:
    name = requirement[e["evt"]]
    label = b"strongroom/evidence-sample/v1\0" + root + len(name).to_bytes(2, "big") + name.encode() + at.to_bytes(8, "big")
    strata[name].append((log.sha256(label), at))
same("sampled requirements", sorted(strata), sorted(path.stem for path in (bundle / "samples").iterdir()))
sampled = {}
for name, scores in strata.items():
    sample = json.loads((bundle / f"samples/{name}.json").read_text())
    most = max(len(json.loads(path.read_text())["entries"]) for path in (bundle / "samples").iterdir())
    picked = sorted(at for _, at in sorted(scores)[:most])
    same(f"population of {name}", len(scores), sample["population"])
    same(f"sample of {name}", picked, [entry["index"] for entry in sample["entries"]])
    for entry in sample["entries"]:
        same(f"leaf {entry['index']}", leaves[entry["index"]].decode(), entry["leaf"])
        same(f"proof {entry['index']}", True, within(leaves[entry["index"]], entry["index"], [base64.b64decode(h) for h in entry["proof"]]))
    sampled[name] = (len(picked), len(scores))

# What the store says, asked of it directly.
keys = store.execute("SELECT count(*) FROM data_keys").fetchone()[0]
states = dict(store.execute("SELECT state, count(*) FROM data_keys GROUP BY state"))
same("keys", keys, len(facts["keys"]))
same("csv/keys.csv", keys, len(file("keys", "key")))
tenants = [name for name, in store.execute("SELECT id FROM tenants ORDER BY id")]
same("tenants", tenants, [kept["tenant"] for kept in facts["retention"]])
made_at = time(facts["about"]["made_at"]).timestamp() * 1e6 - 3600e6
late = 0
for tenant, settings in store.execute("SELECT id, settings FROM tenants"):
    days = json.loads(settings).get("retention", {}).get("days", 10 ** 6)
    late += store.execute(
        "SELECT count(*) FROM cards WHERE tenant = ?1 AND length(record) > 0 AND ((deleted_at IS NULL AND (updated_at <= ?2 OR expires_at <= ?3)) "
        "OR destroy_after <= ?3)", (tenant, made_at - days * 86400e6, made_at)).fetchone()[0]
same("past due", late, sum(kept["past_due"] for kept in facts["retention"]))


# Every number on every page.
class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.numbers, self.inside, self.number = [], False, None

    def handle_starttag(self, tag, attributes):
        names = dict(attributes).get("class", "").split()
        if tag == "span" and "count" in names:
            self.inside, self.number = True, None
        else:
            self.number = None

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "span"
        self.number = self.number if tag == "span" else None

    def handle_data(self, data):
        if self.inside:
            self.number = int(data)
            self.numbers.append([self.number, ""])
        elif self.number is not None and data.strip():
            self.numbers[-1][1] = data.split(" — ")[0].strip()
            self.number = None


def outcome(event, wanted=None):
    return sum(n for (_, evt, out), n in events.items() if evt == event and wanted in (None, out))


expected = {
    "entries of the log in the period": len(now), "entries in the period": len(now), "entries before it": len(ever) - len(now),
    "entries after it, up to the checkpoint": len(entries) - len(ever), "entries that cannot be read": 0,
    "entries missing from the numbers of instances": 0, "cards kept past their time": late,
    "cards released to PSPs": sum(n for row, n in forwards.items() if row[-1] == "success"), "refusals and failures": sum(refusals.values()),
    "grants unused for 90 days or longer": standings["unused"], "grants": len(facts["access"]["grants"]), "of workloads that are suspended now": standings["suspended"], "in use": standings["in-use"],
    "not used, while the log is younger than 90 days": standings["log-too-young"], "whose use no entry tells": standings["not-recorded"],
    "cards released with a code": codes["success"], "forwards that asked for a code and were denied": codes["denied"],
    "forwards that asked for a code and failed": codes["failure"],
    "entries of a card number found where none belongs": outcome("pan.unexpected"),
    "calls refused because a card number stood where none belongs": sum(n for row, n in refusals.items() if "pan-in-request" in row[2]),
    "data keys made in the period": outcome("dek.create", "success"), "data keys destroyed in the period": outcome("dek.destroy", "success"),
    "handshakes refused": outcome("tls.reject"), "identities seen in the period": len({who for who, _ in certificates if who != "-"}),
    **{state: n for state, n in states.items()},
    **{f"reviews of {kind} in the period": n for kind, n in reviewed.items()},
    **{f"reviews of {kind} that came late": n for kind, n in came_late.items()},
    **{f"reviews of {kind} without a record that holds": n for kind, n in wrong.items()},
    "reviews that are overdue or have no record that holds": sum(overdue.values()) + sum(wrong.values()),
    "grants that are new or not as they were": added, "grants that are gone or not as they were": removed, "grants that are as they were": alike,
    "data keys that took over from another": rotated["data-key"], "keys of the log that took over from another": rotated["log-key"],
    "data keys that took over and are wrapped by another KMS key": rotated["kms-key"],
    "first keys of a tenant and purpose": rotated["first"],
    "PSPs without an attestation that is in date": sum(row["standing"] != "stands" for row in register),
}
by_requirement = collections.Counter()
for (name, _, _), n in events.items():
    by_requirement[name] += n
checked = 0
for path in sorted(bundle.glob("*.html")):
    page = Page()
    page.feed(path.read_text())
    listed = collections.Counter(re.findall(r"<li>([0-9.]+): <span class=\"count\">(\d+)</span>", path.read_text()))
    for (name, n) in listed:
        same(f"{path.name}: {name}", by_requirement[name], int(n))
        checked += 1
    for number, label in page.numbers:
        if label:
            same(f"{path.name}: {label}", expected[label], number)
            checked += 1
    same(f"{path.name}: numbers without a label", len(listed), sum(not label for _, label in page.numbers))
    for name, (picked, population) in sampled.items():
        if path.name == "requirement-10.html":
            same(f"{path.name}: sample {name}", True, f'>{name}</a>: {picked} of {population}' in path.read_text())
same("checked", True, checked > 25)
print(f"{len(entries)} entries counted; {checked} numbers of the pages are those of the log")
