"""Shared by the tests of the fused functions for GPUs."""

from helpers.device import xp as xp
