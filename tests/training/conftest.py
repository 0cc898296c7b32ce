"""Shared by the tests of training."""

from helpers.device import xp as xp
from helpers.device import xp_or_ptx as xp_or_ptx
