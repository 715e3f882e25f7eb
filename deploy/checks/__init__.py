"""The parts of deploy/check.py."""

from . import containers, kubernetes, systemd, terraform

PARTS = [systemd, containers, kubernetes, terraform]
