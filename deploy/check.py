#!/usr/bin/env python3
"""Holds what deploy/ ships to the programs it runs: ports, paths, users, times and settings agree, or this ends with 1.

    deploy/check.py                     what needs nothing but Python 3.11
    deploy/check.py --planted           plants mistakes in a copy and sees whether each is noticed
    deploy/check.py --rendered FOLDER   and what kustomize made of the overlays: FOLDER/test.json, FOLDER/live.json
"""

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from checks import PARTS, common, planted


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rendered", type=Path, metavar="FOLDER")
    arguments.add_argument("--planted", action="store_true")
    arguments.add_argument("--part", metavar="NAME", help="this part alone")
    given = arguments.parse_args()
    if given.planted:
        return planted.run(given.rendered)
    failed = 0
    for part in PARTS:
        name = part.__name__.rpartition(".")[2]
        if given.part not in (None, name):
            continue
        report = common.Report()
        part.check(report, given.rendered)
        for line in report.failures:
            print(f"{name}: {line}")
        for line in report.skipped:
            print(f"{name}: NOT CHECKED: {line}")
        print(f"{name}: {report.held} hold, {len(report.failures)} do not")
        failed += len(report.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
