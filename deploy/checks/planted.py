"""Mistakes, each made in a copy of the tree: the check must notice every one, or it checks nothing."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import common

# What the check reads beside deploy/ itself.
READ = ["vault/sealing/src/key.rs", "vault/sealing/src/kms/aws.rs", "vault/docs/audit-log.md", "Cargo.toml", "vault/src/cli.rs", "vault/perimeter/src/drain.rs", "vault/perimeter/src/ops.rs", "proxy/src/app.rs"]

# Part, file, what stands there, what is put in its place.
MISTAKES = [
    ("systemd", "deploy/systemd/strongroom-vault.service", "tcp:7401", "tcp:7402"),
    ("systemd", "deploy/systemd/strongroom-vault.service", "SocketBindDeny=any", "SocketBindDeny="),
    ("systemd", "deploy/systemd/strongroom-vault.service", "LimitCORE=0", "LimitCORE=infinity"),
    ("systemd", "deploy/systemd/strongroom-vault.service", "StateDirectory=strongroom\n", "StateDirectory=vault\n"),
    ("systemd", "deploy/systemd/strongroom-proxy.service", "TimeoutStopSec=90", "TimeoutStopSec=60"),
    ("systemd", "deploy/systemd/strongroom-proxy.service", "User=strongroom-proxy", "User=root"),
    ("systemd", "deploy/systemd/strongroom-proxy.service", "SystemCallFilter=@system-service", "SystemCallFilter=@basic-io"),
    ("systemd", "deploy/systemd/strongroom-proxy.service", "MemoryDenyWriteExecute=yes\n", ""),
    ("containers", "deploy/containers/Containerfile.vault", "USER 10641:10641", "USER 0:0"),
    ("containers", "deploy/containers/Containerfile.vault", "FROM scratch", "FROM debian"),
    ("containers", "deploy/containers/Containerfile.proxy", "EXPOSE 8443", "EXPOSE 443"),
    ("containers", "deploy/containers/Containerfile.proxy", " --locked", ""),
    ("systemd", "deploy/config/proxy.full.toml", "0.0.0.0:8443", "0.0.0.0:443"),
    ("systemd", "deploy/config/vault.full.toml", "/var/lib/strongroom/log", "/srv/log"),
    ("systemd", "proxy/src/app.rs", "const CALLS_DRAIN_MAX: Duration = Duration::from_secs(30)", "const CALLS_DRAIN_MAX: Duration = Duration::from_secs(60)"),
    ("kubernetes", "deploy/kubernetes/overlays/live/config/strongroom-vault-1.toml", "strongroom-vault-1", "strongroom-vault-0"),
    ("kubernetes", "deploy/kubernetes/overlays/live/config/strongroom-vault-2.toml", "days = 400", "days = 40"),
    ("kubernetes", "deploy/kubernetes/overlays/live/config/proxy.toml", "host_suffix", "host_sufix"),
    ("kubernetes", "deploy/kubernetes/overlays/test/config/proxy.toml", '"test"', '"live"'),
    ("terraform", "deploy/terraform/aws/keys.tf", '"kms:Decrypt"]\n        Resource  = "*"\n        Condition = local.in_context', '"kms:Decrypt"]\n        Resource  = "*"'),
    ("terraform", "deploy/terraform/aws/keys.tf", '"kms:GenerateDataKey", ', '"kms:GenerateDataKey", "kms:Encrypt", '),
    ("terraform", "deploy/terraform/aws/keys.tf", '"tenant"]', "]"),
    ("terraform", "deploy/terraform/aws/keys.tf", '"kms:CreateAlias", ', '"kms:CreateGrant", '),
    ("terraform", "deploy/terraform/aws/roles.tf", '"s3:PutObject", ', '"s3:PutObject", "s3:DeleteObject", '),
    ("terraform", "deploy/terraform/aws/roles.tf", '["vault", "vault-secrets"', '["vault", "proxy", "vault-secrets"'),
    ("terraform", "deploy/terraform/aws/variables.tf", "days = 400", "days = 40"),
    ("terraform", "deploy/terraform/aws/variables.tf", "10.41.0.0/16", "10.42.0.0/16"),
    ("terraform", "deploy/terraform/aws/network.tf", "port = 7400", "port = 7401"),
    ("terraform", "vault/sealing/src/key.rs", '("purpose", ', '("use", '),
    ("terraform", "vault/sealing/src/kms/aws.rs", ".generate_data_key()", ".re_encrypt()"),
]

# The same for what kustomize made.
RENDERED = [
    ("kubernetes", "live.json", '"runAsUser": 10641', '"runAsUser": 10642'),
    ("kubernetes", "live.json", '"containerPort": 7401', '"containerPort": 7400'),
    ("kubernetes", "live.json", '"path": "/readyz"', '"path": "/healthz"'),
    ("kubernetes", "live.json", '"terminationGracePeriodSeconds": 100', '"terminationGracePeriodSeconds": 30'),
    ("kubernetes", "live.json", '"169.254.0.0/16", ', ""),
    ("kubernetes", "live.json", '"cidr": "10.41.32.0/20"', '"cidr": "0.0.0.0/0"'),
    ("kubernetes", "live.json", '"replicas": 3', '"replicas": 4'),
    ("kubernetes", "live.json", 'uri-sans": "spiffe://strongroom.example/proxy"', 'uri-sans": "spiffe://strongroom.example/other"'),
    ("kubernetes", "live.json", '"/in/stripe.key"', '"/in/other.key"'),
    ("kubernetes", "live.json", '"mountPath": "/var/lib/strongroom"', '"mountPath": "/var/lib/vault"'),
    ("kubernetes", "live.json", '"key": "guardrails.cedar"', '"key": "checkout.cedar"'),
    ("kubernetes", "live.json", '"0400"', '"0440"'),
]


def run(rendered: Path | None) -> int:
    missed, mistakes = 0, list(MISTAKES)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        leave = shutil.ignore_patterns("sandbox", "__pycache__", ".terraform", "target")
        for tree in ("deploy", "policies"):
            shutil.copytree(common.ROOT / tree, copy / tree, ignore=leave)
        for path in READ:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(common.ROOT / path, copy / path)
        options = []
        if rendered is not None:
            shutil.copytree(rendered, copy / "rendered")
            options = ["--rendered", str(copy / "rendered")]
            mistakes += [(part, f"rendered/{file}", *change) for part, file, *change in RENDERED]
        if not holds(copy, options):
            print("planted: the check does not hold before anything is planted")
            return 1
        for part, path, there, instead in mistakes:
            file, text = copy / path, (copy / path).read_text()
            if there not in text:
                print(f"planted: {path} has no {there!r} any more")
                missed += 1
                continue
            file.write_text(text.replace(there, instead, 1))
            if holds(copy, [*options, "--part", part]):
                print(f"planted: {path}: {instead!r} for {there!r} was not noticed")
                missed += 1
            file.write_text(text)
    print(f"planted: {len(mistakes) - missed} of {len(mistakes)} mistakes were noticed")
    return 1 if missed else 0


def holds(tree: Path, options: list[str]) -> bool:
    command = [sys.executable, "-B", tree / "deploy/check.py", *options]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
