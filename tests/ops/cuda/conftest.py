"""Shared by the tests of the fused functions for GPUs, each of which also runs as it was compiled for one."""

from helpers.device import xp_or_ptx

xp = xp_or_ptx
