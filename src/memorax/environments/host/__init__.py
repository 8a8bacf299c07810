"""Environments that live in Python: of Gymnasium and of libraries like it, stepped in batches of NumPy arrays."""

from memorax.environments.host.batch import HostBatch as HostBatch
from memorax.environments.host.batch import HostStep as HostStep
from memorax.environments.host.copies import HostCopies as HostCopies
from memorax.environments.host.environment import HostEnvironment as HostEnvironment
from memorax.environments.host.environment import HostState as HostState
from memorax.environments.host.errors import HostEnvironmentError as HostEnvironmentError
from memorax.environments.host.recognize import as_host as as_host
from memorax.environments.host.recognize import find_host as find_host
from memorax.environments.host.recognize import is_gymnasium as is_gymnasium
from memorax.environments.host.source import Source as Source
