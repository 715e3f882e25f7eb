"""Mistakes, each made in a copy of the tree: the check must notice every one, or it checks nothing."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import common

# What the check reads beside deploy/ itself.
READ = ["Cargo.toml", "vault/src/cli.rs", "vault/perimeter/src/drain.rs", "proxy/src/app.rs"]

# File, what stands there, what is put in its place.
MISTAKES = [
    ("deploy/systemd/strongroom-vault.service", "tcp:7401", "tcp:7402"),
    ("deploy/systemd/strongroom-vault.service", "SocketBindDeny=any", "SocketBindDeny="),
    ("deploy/systemd/strongroom-vault.service", "LimitCORE=0", "LimitCORE=infinity"),
    ("deploy/systemd/strongroom-vault.service", "StateDirectory=strongroom\n", "StateDirectory=vault\n"),
    ("deploy/systemd/strongroom-proxy.service", "TimeoutStopSec=90", "TimeoutStopSec=60"),
    ("deploy/systemd/strongroom-proxy.service", "User=strongroom-proxy", "User=root"),
    ("deploy/systemd/strongroom-proxy.service", "SystemCallFilter=@system-service", "SystemCallFilter=@basic-io"),
    ("deploy/systemd/strongroom-proxy.service", "MemoryDenyWriteExecute=yes\n", ""),
    ("deploy/containers/Containerfile.vault", "USER 10641:10641", "USER 0:0"),
    ("deploy/containers/Containerfile.vault", "FROM scratch", "FROM debian"),
    ("deploy/containers/Containerfile.proxy", "EXPOSE 8443", "EXPOSE 443"),
    ("deploy/containers/Containerfile.proxy", " --locked", ""),
    ("deploy/config/proxy.full.toml", "0.0.0.0:8443", "0.0.0.0:443"),
    ("deploy/config/vault.full.toml", "/var/lib/strongroom/log", "/srv/log"),
    ("proxy/src/app.rs", "const CALLS_DRAIN_MAX: Duration = Duration::from_secs(30)", "const CALLS_DRAIN_MAX: Duration = Duration::from_secs(60)"),
]


def run() -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        leave = shutil.ignore_patterns("sandbox", "__pycache__", ".terraform")
        shutil.copytree(common.DEPLOY, copy / "deploy", ignore=leave)
        for path in READ:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(common.ROOT / path, copy / path)
        if not holds(copy):
            print("planted: the check does not hold before anything is planted")
            return 1
        for path, there, instead in MISTAKES:
            file, text = copy / path, (copy / path).read_text()
            if there not in text:
                print(f"planted: {path} has no {there!r} any more")
                missed += 1
                continue
            file.write_text(text.replace(there, instead, 1))
            if holds(copy):
                print(f"planted: {path}: {instead!r} for {there!r} was not noticed")
                missed += 1
            file.write_text(text)
    print(f"planted: {len(MISTAKES) - missed} of {len(MISTAKES)} mistakes were noticed")
    return 1 if missed else 0


def holds(tree: Path) -> bool:
    ran = subprocess.run([sys.executable, "-B", tree / "deploy/check.py"], capture_output=True, check=False)
    return ran.returncode == 0
