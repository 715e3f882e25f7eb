"""The units: what they allow is what the programs need and what the shipped configuration names."""

import functools
import shutil
import subprocess
from pathlib import Path

from . import common

# Of `systemd-analyze security`, 0 to 10, less is better: what is left is the Internet, the host's root folder and network.
EXPOSURE_MAX = 1.1

YES = """NoNewPrivileges RestrictSUIDSGID MemoryDenyWriteExecute ProtectHome PrivateTmp PrivateDevices PrivateUsers PrivateMounts
ProtectClock ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectControlGroups RestrictNamespaces
RestrictRealtime LockPersonality RemoveIPC PrivateIPC""".split()
IS = {
    "LimitCORE": "0",
    "MemorySwapMax": "0",
    "ProtectSystem": "strict",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "NoExecPaths": "/",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "DevicePolicy": "closed",
    "SocketBindDeny": "any",
    "RestrictAddressFamilies": "AF_INET AF_INET6",
}


def settings(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith(("#", ";", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def check(report: common.Report, _rendered: Path | None) -> None:
    for program in common.PROGRAMS:
        path = common.DEPLOY / "systemd" / f"strongroom-{program}.service"
        unit = settings(path)
        check_unit(report, program, unit)
        check_paths(report, program, unit)
        check_calls(report, program, unit)
        check_exposure(report, path)
    # What the source must keep true for the units to be right.
    report.expect('default_value = "/etc/strongroom/vault.toml"' in common.read("vault/src/cli.rs"), "the vault's default --config moved")
    report.expect("SignalKind::hangup" not in common.read("vault/perimeter/src/drain.rs"), "SIGHUP means something now: say ExecReload")


def check_unit(report: common.Report, program: str, unit: dict[str, list[str]]) -> None:
    name, config = f"strongroom-{program}", common.full(program)
    report.same(f"{name} ExecStart", unit["ExecStart"], [f"/usr/bin/{name} serve --config /etc/strongroom/{program}.toml"])
    report.same(f"{name} User", unit["User"], [name])
    report.expect(name in common.users(), f"{name}: the sysusers file makes no such user")
    bound = sorted(common.port(value) for value in unit["SocketBindAllow"])
    report.same(f"{name} SocketBindAllow", bound, sorted(common.ports(program, config).values()))
    stop = int(unit["TimeoutStopSec"][0])
    report.expect(stop > common.drain_seconds(program), f"{name}: TimeoutStopSec={stop} cuts off a drain of {common.drain_seconds(program)} s")
    for setting, value in (dict.fromkeys(YES, "yes") | IS).items():
        report.same(f"{name} {setting}", unit.get(setting), [value])
    report.expect("ExecReload" not in unit, f"{name}: there is no reload signal")


def check_paths(report: common.Report, program: str, unit: dict[str, list[str]]) -> None:
    """What the full configuration writes lies where the unit lets it be written."""
    config = common.full(program)
    writable = [f"/var/lib/{folder}/" for folder in unit.get("StateDirectory", [])]
    writable += [f"/var/log/{folder}/" for folder in unit.get("LogsDirectory", [])]
    if program == "vault":
        sqlite = common.toml(common.DEPLOY / "config/vault.minimal.toml")["store"]["path"]
        written = [sqlite, config["audit"]["folder"], config["watch"]["findings_file"]]
        password = f"/run/credentials/strongroom-vault.service/{unit['LoadCredential'][0]}"
        report.expect(password in (common.DEPLOY / "systemd/strongroom-vault.service").read_text(), "the credential's path is not said")
    else:
        written = []
        report.expect(not writable, "the proxy writes nothing and needs no folder to write to")
        report.expect(config["secrets_folder"] + "\n" in (common.DEPLOY / "systemd/strongroom-proxy.service").read_text().replace(",", "\n"), "the secrets folder moved")
    for path in written:
        report.expect(path.startswith(tuple(writable)), f"{program}: {path} is outside of what its unit may write to ({writable})")


def check_calls(report: common.Report, program: str, unit: dict[str, list[str]]) -> None:
    """The filter lets through what the programs were seen to call, and not what gains rights."""
    if shutil.which("systemd-analyze") is None:
        report.skip("the system call filter: systemd-analyze is not installed")
        return
    allowed: set[str] = set()
    for value in unit["SystemCallFilter"]:
        names = expand(value.removeprefix("~").split())
        allowed = allowed - names if value.startswith("~") else allowed | names
    allowed |= expand(["@default"])
    lines = (common.DEPLOY / "systemd/syscalls.txt").read_text().splitlines()
    for call, *by in (line.split() for line in lines if line and not line.startswith("#")):
        if not by or program in by:
            report.expect(call in allowed, f"strongroom-{program}: the filter refuses {call}, which the program calls")
    for call in ("ptrace", "mount", "setuid", "bpf", "keyctl", "init_module", "kexec_load", "process_vm_readv", "io_uring_setup"):
        report.expect(call not in allowed, f"strongroom-{program}: the filter lets {call} through")


def expand(names: list[str]) -> set[str]:
    return set().union(*(members(name) if name.startswith("@") else {name} for name in names))


@functools.cache
def members(group: str) -> frozenset[str]:
    shown = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in shown.stdout.splitlines()[1:]]
    return frozenset(expand([line for line in lines if line and not line.startswith("#")]))


def check_exposure(report: common.Report, path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        report.skip("the exposure: systemd-analyze is not installed")
        return
    shown = subprocess.run(["systemd-analyze", "--no-pager", "security", "--offline=true", str(path)], capture_output=True, text=True, check=False)
    last = [line for line in shown.stdout.splitlines() if "Overall exposure level" in line]
    if not last:
        report.skip(f"the exposure: this systemd cannot tell offline: {shown.stderr.strip()}")
        return
    score = float(last[0].partition(": ")[2].split()[0])
    report.expect(score <= EXPOSURE_MAX, f"{path.name}: an exposure of {score}; {EXPOSURE_MAX} is what was reached")
    print(f"systemd: {path.name}: exposure {score}")
