"""Environments around environments; a file a wrapper."""

from memorax.environments.wrappers.auto_reset import AutoReset as AutoReset
from memorax.environments.wrappers.base import Wrapper as Wrapper
from memorax.environments.wrappers.statistics import RecordEpisodeStatistics as RecordEpisodeStatistics
from memorax.environments.wrappers.time_limit import TimeLimit as TimeLimit
