"""The images: as whom they run, what they start, what they show, and that nothing else is in them."""

import re
from pathlib import Path

from . import common


def stages(text: str) -> list[list[tuple[str, str]]]:
    """Instructions of each stage; what stands before the first FROM is left out."""
    found: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if found and word.isupper():
            found[-1].append((word, rest))
    return found


def check(report: common.Report, _rendered: Path | None) -> None:
    for program in common.PROGRAMS:
        name = f"strongroom-{program}"
        text = common.read(f"deploy/containers/Containerfile.{program}")
        number = common.users()[name]
        first, last = stages(text)
        final = dict(last)
        words = [word for word, _ in last]
        report.same(f"{name}: last stage", words, ["FROM", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"])
        report.same(f"{name}: last stage is from", final["FROM"], "scratch")
        report.same(f"{name}: USER", final["USER"], f"{number}:{number}")
        wanted = sorted(common.ports(program, common.full(program)).values())
        report.same(f"{name}: EXPOSE", [int(port) for port in final["EXPOSE"].split()], wanted)
        report.same(f"{name}: ENTRYPOINT", final["ENTRYPOINT"], f'["/usr/bin/{name}"]')
        report.same(f"{name}: CMD", final["CMD"], f'["serve", "--config", "/etc/strongroom/{program}.toml"]')
        builds = [rest for word, rest in first if word == "RUN"]
        report.expect(f"cargo build --release --locked -p {name} --bin {name}" in builds, f"{name}: is not built as released, locked")
        report.expect(f"{name} {name} {number} " in builds[-1], f"{name}: the user in the image is another")
        minimum = re.search(r'^rust-version = "([\d.]+)"', common.read("Cargo.toml"), re.MULTILINE)[1]
        report.expect(f"rust:{minimum}." in text, f"{name}: the builder is not of Rust {minimum}")
    last = dict(stages(common.read("deploy/containers/Containerfile.install"))[-1])
    report.same("strongroom-install: ENTRYPOINT", last["ENTRYPOINT"], '["/usr/bin/install"]')
    report.expect(last["FROM"] == "scratch" and not last["USER"].startswith("0"), "strongroom-install: runs as root or on a base")
