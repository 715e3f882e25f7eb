"""The parts of deploy/check.py."""

from . import containers, kubernetes, systemd

PARTS = [systemd, containers, kubernetes]
