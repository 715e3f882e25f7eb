"""What every part needs: where things are, what the programs say of themselves, and how a finding is told."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = ("vault", "proxy")


class Report:
    """What held, what did not, and what could not be looked at."""

    def __init__(self) -> None:
        self.held, self.failures, self.skipped = 0, [], []

    def expect(self, holds: bool, otherwise: str) -> None:
        if holds:
            self.held += 1
        else:
            self.failures.append(otherwise)

    def same(self, what: str, found: object, wanted: object) -> None:
        self.expect(found == wanted, f"{what}: {found!r}, and it must be {wanted!r}")

    def skip(self, what: str) -> None:
        self.skipped.append(what)


def read(path: str) -> str:
    return (ROOT / path).read_text()


def toml(path: Path) -> dict:
    return tomllib.loads(path.read_text())


def full(program: str) -> dict:
    """Every setting of a program, as deploy/config shows it; the program's own tests hold that file to the code."""
    return toml(DEPLOY / "config" / f"{program}.full.toml")


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def ports(program: str, config: dict) -> dict[str, int]:
    """The ports a configuration binds, by name."""
    if program == "vault":
        return {"api": port(config["api"]["address"]), "ops": port(config["ops"]["address"])}
    bound = {"forward": port(config["listener"]["address"]), "ops": port(config["ops"]["address"])}
    if "inbound" in config:
        bound["inbound"] = port(config["inbound"]["listener"]["address"])
    return bound


def seconds(path: str, constant: str) -> int:
    """`const NAME: Duration = Duration::from_secs(N);` in a source file."""
    found = re.search(rf"const {constant}: Duration = Duration::from_secs\((\d+)\)", read(path))
    if found is None:
        raise SystemExit(f"{path} no longer says {constant} in seconds: teach deploy/checks/common.py where it went")
    return int(found[1])


def drain_seconds(program: str) -> int:
    """How long a program may take from SIGTERM to its end, by its own bounds, with the default drain time."""
    config = full(program)
    listener = config["api"] if program == "vault" else config["listener"]
    drain = listener["limits"]["drain_timeout_ms"] // 1000
    if program == "vault":
        # Deliveries under way may take a webhook's time; then what is left is committed, signed and exported, which is given 15 s.
        return drain + config["events"]["webhooks"][0]["timeout_ms"] // 1000 + 15
    calls, outcomes = (seconds("proxy/src/app.rs", name) for name in ("CALLS_DRAIN_MAX", "OUTCOMES_DRAIN_MAX"))
    return drain + calls + outcomes


def users() -> dict[str, int]:
    """Users and their numbers, as the sysusers file makes them."""
    lines = (DEPLOY / "systemd" / "strongroom.sysusers").read_text().splitlines()
    fields = [line.split() for line in lines if line.startswith("u ")]
    return {field[1]: int(field[2]) for field in fields}
