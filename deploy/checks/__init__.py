"""The parts of deploy/check.py."""

from . import systemd

PARTS = [systemd]
