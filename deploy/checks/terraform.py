"""Terraform for AWS: what it grants is what the vault calls, under the context it sends, where its settings say."""

import ipaddress
import re
from pathlib import Path

from . import common

HERE = "deploy/terraform/aws"


def check(report: common.Report, _rendered: Path | None) -> None:
    check_keys(report)
    check_rights(report)
    network, database = common.read(f"{HERE}/network.tf"), common.read(f"{HERE}/database.tf")
    for overlay in ("live", "test"):
        check_settings(report, overlay, network)
    report.expect(re.search(r'"rds\.force_ssl"\s+= "1"', database) is not None, "the database takes connections without TLS")
    api = common.ports("vault", common.full("vault"))["api"]
    report.same("the proxy's way to the vault", number(network, r"proxy-vault\s+= .*port = (\d+)"), api)
    report.same("the vault's way to the database", number(network, r"vault-database\s+= .*port = (\d+)"), common.full("vault")["store"]["port"])
    ways = set(re.findall(r"^    (\S+)\s+= \{ from = ", network, re.MULTILINE))
    report.same("ways between groups", ways, {"vault-database", "vault-endpoints", "proxy-endpoints", "proxy-vault"})


def words(text: str, name: str) -> set[str]:
    """The strings of a list: `name = ["a", "b"]`."""
    found = re.search(rf"{name}\s*= \[([^\]]*)\]", text)
    return set(re.findall(r'"([^"]+)"', found[1])) if found else set()


def number(text: str, pattern: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None


def check_keys(report: common.Report) -> None:
    key, aws, granted = common.read("vault/sealing/src/key.rs"), common.read("vault/sealing/src/kms/aws.rs"), common.read(f"{HERE}/keys.tf")
    pairs = key[key.index("pub fn pairs") :]
    sent = set(re.findall(r'\("(\w+)", ', pairs[: pairs.index("])")]))
    report.same("keys of the encryption context", words(granted, "context_keys"), sent)
    purposes = key[key.index("impl Purpose") :]
    purposes = set(re.findall(r'Self::\w+ => "([a-z-]+)"', purposes[: purposes.index("\n}")]))
    report.same("purposes in the encryption context", words(granted, "context_purposes"), purposes)
    bound = set(re.findall(r'"kms:EncryptionContext:(\w+)"', granted))
    report.same("what the key's policy looks at", bound, sent)
    called = {"kms:" + "".join(word.title() for word in call.split("_")) for call in re.findall(r"client\s*\.(\w+)\(\)", aws)}
    vault = granted[granted.index('"WrapAndUnwrap"') : granted.index('"NobodyElseUses"')]
    report.same("rights to the key", set(re.findall(r'"(kms:\w+)"', vault)), called)
    wraps = vault[: vault.index('"LookAt"')]
    report.expect("Condition = local.in_context" in wraps, "the key is used under any context")
    report.expect("enable_key_rotation     = true" in granted[: granted.index("policy")], "the key is not rotated")
    manage = granted[granted.index('"Manage"') : granted.index('"WrapAndUnwrap"')]
    used = [right for right in re.findall(r'"kms:(\w+)"', manage) if re.match("Decrypt|Encrypt|Generate|ReEncrypt|CreateGrant", right)]
    report.same("use of the key by who manages it", used, [])


def check_rights(report: common.Report) -> None:
    roles = common.read(f"{HERE}/roles.tf")
    said = common.read("vault/docs/audit-log.md")
    said = said[said.index("Give the access key") : said.index("no right to delete")]
    granted = set(re.findall(r'"(s3:\w+)"', roles))
    report.same("rights to the log's bucket", granted, set(re.findall(r"`(s3:\w+)`", said)))
    trusted = set(re.findall(r'"([\w-]+)"', re.search(r"for who in \[([^\]]+)\]", roles)[1]))
    report.same("who is trusted", trusted, {"vault", "vault-secrets", "proxy-secrets"})
    named = set(re.findall(r'"((?:vault|proxy)/[\w-]+)"', roles))
    wanted = set(re.findall(r"key: strongroom/([\w/-]+)", common.read("deploy/kubernetes/base/secrets.yaml")))
    report.same("secrets", named, wanted)


def check_settings(report: common.Report, overlay: str, network: str) -> None:
    folder = common.DEPLOY / "kubernetes/overlays" / overlay
    config = common.toml(folder / "config/strongroom-vault-0.toml")
    variables, keys, log = (common.read(f"{HERE}/{name}.tf") for name in ("variables", "keys", "log"))
    report.same(f"{overlay}: alias", re.search(r'name\s+= "(alias/[^"]+)"', keys)[1].replace("${var.environment}", overlay), config["kms"]["key"])
    bucket = re.search(r'bucket\s+= "([^"]+)"', log)[1].replace("${local.name}", f"strongroom-{overlay}")
    report.same(f"{overlay}: bucket", bucket, config["audit"]["bucket"]["name"])
    report.same(f"{overlay}: prefix", f"{overlay}/", config["audit"]["bucket"]["prefix"])
    region = re.search(r'variable "region".*?default\s+= "([^"]+)"', variables, re.DOTALL)[1]
    report.same(f"{overlay}: region", {region}, {config["kms"]["region"], config["audit"]["bucket"]["region"]})
    mode, days = re.search(rf'{overlay}\s+= \{{ mode = "(\w+)", days = (\d+) \}}', variables).groups()
    report.same(f"{overlay}: lock", {"mode": mode, "days": int(days)}, config["audit"]["bucket"]["retention"])
    whole = ipaddress.ip_network(re.search(rf'{overlay} = "([\d./]+)"', variables)[1])
    kinds = {kind: list(whole.subnets(new_prefix=20))[int(place)] for kind, place in re.findall(r"(\w+) = (\d)", re.search(r"kinds\s+= \{(.*)\}", network)[1])}
    policy = (folder / "network.yaml").read_text()
    opened = {ipaddress.ip_network(block) for block in re.findall(r"cidr: ([\d./]+)", policy)}
    report.same(f"{overlay}: networks the vault reaches", opened, {kinds["database"], kinds["endpoints"]})
    roles = set(re.findall(rf"role/(strongroom-{overlay}[\w-]*)", policy + (folder / "stores.yaml").read_text() + (folder / "kustomization.yaml").read_text()))
    report.same(f"{overlay}: roles", roles, {f"strongroom-{overlay}-{who}" for who in ("vault", "vault-secrets", "proxy-secrets")})
