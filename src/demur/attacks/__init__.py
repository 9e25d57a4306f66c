"""Attacks: `Prompt -> Conversation`, one file a family. They rewrite how a request is put, never what it asks."""

from demur.attacks.family import GROUPS, Attack, Group
from demur.attacks.registry import ATTACKS, attack, get, names, unattacked

__all__ = ["ATTACKS", "GROUPS", "Attack", "Group", "attack", "get", "names", "unattacked"]
