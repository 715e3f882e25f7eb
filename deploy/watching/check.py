#!/usr/bin/env python3
"""Holds rules, their tests, dashboards, runbooks and pages here to the sources: no alert on a number nobody counts.

    deploy/watching/check.py            exit status 1 and a line for each thing that is wrong
    deploy/watching/check.py --prove    takes each metric, label and runbook away in turn: the check must notice every time

Promises: each metric that is named exists in the code, with the labels and label values it is asked for; each alert has a
severity, a summary, a runbook that exists and is listed, a test in which it fires and one in which it does not; each command
and endpoint a runbook tells of exists; each dashboard is one.
Does not promise: that a metric means what a page says of it, nor that a rule is right: `promtool test rules` runs those.
Trusts: that metrics are made by the macros of `metrics` with literal names and labels, as they all are.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WATCHING, RUNBOOKS = ROOT / "deploy/watching", ROOT / "deploy/runbooks"
SOURCES = ["vault/src", "vault/domain/src", "vault/perimeter/src", "vault/sealing/src", "proxy/src"]
# Of Prometheus itself and of prometheus-node-exporter, with the labels asked of them.
FOREIGN = {
    "up": {"job", "instance"},
    "node_filesystem_avail_bytes": {"fstype", "mountpoint"},
    "node_filesystem_size_bytes": {"fstype", "mountpoint"},
}
# Given by whoever scrapes.
SCRAPED = {"job", "instance"}
NUMBERS = re.compile(r"^[0-9.+A-Za-z]*[0-9.][0-9.]*$")  # of `status` and `le`: 503, 5.., 0.1
METRIC = re.compile(r"\b(?:strongroom_[a-z0-9_]+|node_[a-z_]+|up(?=[{ )=]))(\{[^}]*(?:\{[a-z]+\}[^}]*)*\})?")
MATCHER = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SUFFIXES = {"_bucket", "_sum", "_count"}


# ── what the code counts ────────────────────────────────────────────────────────────────────────────────────────────────


class Code:
    """Metrics by name: kind and labels; every text of the sources; subcommands, flags and paths."""

    def __init__(self):
        self.metrics, self.texts = {}, set()
        files = [file for folder in SOURCES for file in sorted((ROOT / folder).rglob("*.rs")) if file.name != "tests.rs"]
        texts = [file.read_text(encoding="utf-8") for file in files]
        # Names that implementations of one trait give, each its own.
        self.given = {}
        for name, metric in re.findall(r"const ([A-Z_]+): &'static str = \"(strongroom_[a-z0-9_]+)\"", "\n".join(texts)):
            self.given.setdefault(name, set()).add(metric)
        for text in texts:
            self.read(text)
        self.commands = {
            "strongroom-vault": Commands(ROOT / "vault/src/cli.rs", ROOT / "vault/src/cli"),
            "strongroom-proxy": Commands(ROOT / "proxy/src/cli.rs", ROOT / "proxy/src/explain"),
            "strongroom-policy": Commands(ROOT / "policies/prove/src/cli.rs", ROOT / "policies/prove/src"),
        }
        openapi = json.loads((ROOT / "vault/openapi.json").read_text(encoding="utf-8"))
        self.paths = set(openapi["paths"]) | {"/livez", "/readyz", "/metrics", "/-/explain"}

    def read(self, text):
        text = re.sub(r"(?m)^\s*//.*$", "", text.split("#[cfg(test)]\nmod tests {")[0])
        self.texts.update(re.findall(r'"([^"\n]*)"', text))
        constants = dict(re.findall(r'const ([A-Z_]+): &str = "([^"]*)"', text))
        for call in re.finditer(r"\b(counter|gauge|histogram)!\(", text):
            inside = balanced(text, call.end())
            name = re.match(r'\s*(?:"([a-z0-9_]+)"|(?:C|Self)::([A-Z_]+)|([A-Z_]+))', inside)
            names = name and ([name[1]] if name[1] else self.given.get(name[2]) or [constants.get(name[3])])
            if not names or None in names:
                raise SystemExit(f"a metric without a name that can be read: {call[0]}{inside[:60]}")
            for one in names:
                kind, labels = self.metrics.setdefault(one, (call[1], set()))
                labels.update(re.findall(r'"([a-z_]+)"\s*=>', inside))

    def labels(self, name):
        """The labels of a series, or None if nothing makes it."""
        if name in FOREIGN:
            return FOREIGN[name] | SCRAPED
        for suffix in SUFFIXES:
            kind, labels = self.metrics.get(name.removesuffix(suffix), (None, None))
            if name.endswith(suffix) and kind == "histogram":
                return labels | SCRAPED | {"le"}
        kind, labels = self.metrics.get(name, (None, None))
        return None if kind in (None, "histogram") else labels | SCRAPED

    def spoken_of(self, name):
        """The same for a page, where a histogram goes by its own name too."""
        kind, labels = self.metrics.get(name, (None, None))
        return labels | SCRAPED if kind == "histogram" else self.labels(name)


class Commands:
    """Subcommands and flags of one program, by the names of its enums and fields."""

    def __init__(self, main, folder):
        files = [main, *sorted(folder.rglob("*.rs"))] if main.exists() else sorted(folder.rglob("*.rs"))
        text = "\n".join(file.read_text(encoding="utf-8") for file in files)
        events = ROOT / "vault/src/audit/event.rs"
        self.texts = set(re.findall(r'"([a-z._]+)"', events.read_text(encoding="utf-8")))
        self.words = {kebab(name) for name in re.findall(r"(?m)^    ([A-Z][A-Za-z]+)\s*(?:[({,]|$)", text)}
        self.flags = {name.replace("_", "-") for name in re.findall(r"(?m)^\s+(?:pub(?:\([a-z]+\))? )?([a-z][a-z0-9_]*):", text)}
        self.flags |= set(re.findall(r'long = "([a-z-]+)"', text)) | {"help"}


def kebab(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def balanced(text, start):
    depth, at = 1, start
    while depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return text[start : at - 1]


# ── what is asked of it ─────────────────────────────────────────────────────────────────────────────────────────────────


class Rules:
    """Alerts and recording rules, read from the plain YAML they are written in."""

    def __init__(self):
        self.alerts, self.records = [], {}
        for file in sorted((WATCHING / "rules").glob("*.yml")):
            rule, block = None, None
            for line in file.read_text(encoding="utf-8").splitlines():
                indent, text = len(line) - len(line.lstrip()), line.strip()
                if block and (indent > 8 or not text):
                    rule["expr"] += text + "\n"
                    continue
                block = None
                name, _, value = text.removeprefix("- ").partition(": ")
                if text.startswith(("- alert: ", "- record: ")):
                    rule = {"file": file.name, name: value, "expr": ""}
                    self.alerts.append(rule) if name == "alert" else self.records.update({value: rule})
                elif name.startswith("expr"):
                    block = value == "|" or name == "expr:"
                    rule["expr"] = "" if block else value
                elif rule and value and not text.startswith("#"):
                    rule[name] = value.strip('"')

    def tested(self):
        """Alerts with a test in which they fire, and those with one in which they do not."""
        firing, quiet = set(), set()
        for file in sorted((WATCHING / "tests").glob("*.yml")):
            for name, expected in re.findall(r"alertname: (\w+)\n\s+exp_alerts:(.*)", file.read_text(encoding="utf-8")):
                (quiet if expected.strip() == "[]" else firing).add(name)
        return firing, quiet


def check(code, rules, runbooks):
    wrong = []
    firing, quiet = rules.tested()
    if not rules.alerts:
        wrong.append("there are no alerts")
    for name, rule in rules.records.items():
        wrong += expression(code, rules, rule["expr"], f"{rule['file']}: {name}")
    for rule in rules.alerts:
        where = f"{rule['file']}: {rule['alert']}"
        wrong += expression(code, rules, rule["expr"], where)
        if rule.get("severity") not in ("page", "ticket"):
            wrong.append(f"{where}: severity is page or ticket")
        if not rule.get("summary"):
            wrong.append(f"{where}: no summary")
        if Path(rule.get("runbook", "")).parent.as_posix() != "deploy/runbooks" or rule["runbook"] not in runbooks:
            wrong.append(f"{where}: its runbook does not exist: {rule.get('runbook')}")
        if rule["alert"] not in firing:
            wrong.append(f"{where}: no test in which it fires")
        if rule["alert"] not in quiet:
            wrong.append(f"{where}: no test in which it does not fire")
    wrong += [f"tests: {name} is no alert" for name in sorted((firing | quiet) - {rule["alert"] for rule in rules.alerts})]
    wrong += listed(rules, runbooks)
    for file in sorted((WATCHING / "dashboards").glob("*.json")):
        wrong += dashboard(code, rules, file)
    for file in [*sorted(RUNBOOKS.glob("*.md")), *sorted(WATCHING.glob("*.md"))]:
        wrong += page(code, rules, file)
    return wrong


def expression(code, rules, expr, where):
    """Metrics, labels and label values of one expression."""
    wrong, known = [], set()
    bare = re.sub(r'"[^"]*"', '""', expr)
    for found in METRIC.finditer(expr):
        name = found[0].split("{")[0]
        labels = code.labels(name)
        if labels is None:
            wrong.append(f"{where}: nothing counts {name}")
            continue
        known |= labels
        for label, value in MATCHER.findall(found[1] or ""):
            if label not in labels:
                wrong.append(f"{where}: {name} has no label {label}")
            elif not label_value(code, label, value):
                wrong.append(f"{where}: {name} never has {label}={value!r}")
    for name in re.findall(r"\bstrongroom:[a-z_]+:[a-z0-9]+", expr):
        if name not in rules.records:
            wrong.append(f"{where}: no rule records {name}")
    for labels in GROUPED.findall(bare):
        wrong += [f"{where}: no metric there has the label {label}" for label in re.findall(r"[a-z_]+", labels) if label not in known]
    return wrong


def label_value(code, label, value):
    if label in ("le", "status", "job", "fstype") or value.startswith("$"):
        return bool(value)
    return all(part in code.texts or part == "-" for part in value.split("|"))


def listed(rules, runbooks):
    """Each runbook stands in the list, and the list names exactly the alerts that link it."""
    wrong = []
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for runbook in sorted(runbooks):
        name = Path(runbook).name
        row = re.search(rf"(?m)^\| \[[^\]]*\]\({re.escape(name)}\) \|(.*)$", index)
        if not row:
            wrong.append(f"runbooks/README.md does not list {name}")
            continue
        linking = {rule["alert"] for rule in rules.alerts if rule.get("runbook") == runbook}
        named = set(re.findall(r"`(Strongroom\w+)`", row[1]))
        if linking != named:
            wrong.append(f"runbooks/README.md: {name} is linked by {sorted(linking ^ named)} or is not, and the list says otherwise")
        if not linking and "no alert" not in row[1]:
            wrong.append(f"runbooks/README.md: nothing links {name}")
    return wrong


def dashboard(code, rules, file):
    try:
        board = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"{file.name}: no JSON: {error}"]
    wrong, panels = [], [panel for row in board["panels"] for panel in [row, *row.get("panels", [])]]
    for key in ("uid", "title", "schemaVersion", "templating"):
        if not board.get(key):
            wrong.append(f"{file.name}: no {key}")
    if len({panel["id"] for panel in panels}) != len(panels):
        wrong.append(f"{file.name}: two panels of one id")
    variables = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__range", "__interval"}
    asked = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]
    asked += [("a variable", variable["definition"]) for variable in board["templating"]["list"] if variable["type"] == "query"]
    for title, expr in asked:
        wrong += expression(code, rules, expr, f"{file.name}: {title}")
        wrong += [f"{file.name}: {title}: no variable ${name}" for name in re.findall(r"\$\{?(\w+)", expr) if name not in variables]
    return wrong


def page(code, rules, file):
    """Metrics, alerts, commands, endpoints and links of a page."""
    where, text, wrong = f"{file.parent.name}/{file.name}", file.read_text(encoding="utf-8"), []
    alerts = {rule["alert"] for rule in rules.alerts}
    for found in re.finditer(r"\b(strongroom_[a-z0-9_]+)(\{[^}]*\})?", text):
        labels = code.spoken_of(found[1])
        if labels is None:
            wrong.append(f"{where}: nothing counts {found[1]}")
            continue
        for label, _, value in re.findall(r'([a-z_]+)(=~?"([^"]*)")?(?=[,}])', found[2] or ""):
            if label not in labels:
                wrong.append(f"{where}: {found[1]} has no label {label}")
            elif value and not label_value(code, label, value):
                wrong.append(f"{where}: {found[1]} never has {label}={value!r}")
    wrong += [f"{where}: no rule records {name}" for name in re.findall(r"strongroom:[a-z_]+:[a-z0-9]+", text) if name not in rules.records]
    wrong += [f"{where}: no alert is called {name}" for name in re.findall(r"`(Strongroom[A-Z]\w+)`", text) if name not in alerts]
    for line in re.findall(r"(?:^|[`$|] ?)(strongroom-(?:vault|proxy|policy) [^`\n]*)", text, re.M):
        wrong += [f"{where}: {problem}: {line}" for problem in command(code, line)]
    for path in re.findall(r"(?<![\w.:/-])(/(?:v1/[\w{}/-]+|livez|readyz|metrics))", text):
        if path.rstrip("/") not in code.paths:
            wrong.append(f"{where}: no endpoint {path}")
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link and not (file.parent / link).exists():
            wrong.append(f"{where}: a link that leads nowhere: {link}")
    return wrong


def command(code, line):
    """Whether the program has these subcommands and flags."""
    program, *words = line.split("#")[0].split("|")[0].split()
    known, wrong = code.commands[program], []
    for at, word in enumerate(words):
        if word.startswith("--"):
            if word[2:].split("=")[0].rstrip(",.;)") not in known.flags:
                wrong.append(f"no flag {word}")
        elif at == 0 and word not in known.words:
            wrong.append(f"no subcommand {word}")
        elif at and words[at - 1] == "--verb" and word not in known.texts:
            wrong.append(f"no event {word}")
        elif at == 1 and words[0] in ("audit", "card", "tenant", "events", "policy", "route", "ca") and word not in known.words:
            wrong.append(f"no subcommand {word}")
    return wrong


# ── that it would notice ────────────────────────────────────────────────────────────────────────────────────────────────


def prove(code, rules, runbooks):
    """Takes away what is used, one thing at a time. Gives what was not missed."""
    asked = "\n".join(rule["expr"] for rule in [*rules.alerts, *rules.records.values()])
    asked += "".join(file.read_text(encoding="utf-8") for file in (WATCHING / "dashboards").glob("*.json")).replace('\\"', '"')
    unnoticed, taken = [], 0
    for name, (kind, labels) in sorted(code.metrics.items()):
        if not re.search(rf"\b{name}\b|\b{name}_(?:bucket|count|sum)\b", asked):
            continue
        code.metrics[name + "_renamed"] = code.metrics.pop(name)
        taken += 1
        if not check(code, rules, runbooks):
            unnoticed.append(name)
        code.metrics[name] = code.metrics.pop(name + "_renamed")
        for label in sorted(labels):
            if re.search(rf"\b{name}(?:_bucket|_count)?\{{[^}}]*\b{label}\s*[=!]", asked):
                labels.remove(label)
                taken += 1
                if not check(code, rules, runbooks):
                    unnoticed.append(f"{name}{{{label}}}")
                labels.add(label)
    for runbook in sorted(runbooks):
        taken += 1
        linked = any(rule.get("runbook") == runbook for rule in rules.alerts)
        if linked and not check(code, rules, runbooks - {runbook}):
            unnoticed.append(runbook)
    return taken, unnoticed


def main():
    code, rules = Code(), Rules()
    runbooks = {f"deploy/runbooks/{file.name}" for file in RUNBOOKS.glob("*.md") if file.name != "README.md"}
    wrong = check(code, rules, runbooks)
    print("\n".join(wrong), end="\n" if wrong else "")
    if wrong:
        return 1
    if "--prove" in sys.argv[1:]:
        taken, unnoticed = prove(code, rules, runbooks)
        if unnoticed or not taken:
            print("taken away and not missed:", *unnoticed)
            return 1
        print(f"{taken} metrics, labels and runbooks were taken away one at a time, and each was missed")
    print(f"{len(rules.alerts)} alerts, {len(rules.records)} recorded ratios, {len(runbooks)} runbooks, {len(code.metrics)} metrics: they agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
