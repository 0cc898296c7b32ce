"""Shared by the tests of training."""

from helpers.device import xp as xp
