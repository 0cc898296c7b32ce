"""Shared by the tests of data."""

from helpers.device import xp as xp
