"""The parts of deploy/check.py."""

from . import containers, systemd

PARTS = [systemd, containers]
