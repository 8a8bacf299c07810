"""Where agents act: built-in memory tasks, environments of other libraries, and wrappers around both."""

from memorax.environments.environment import Environment as Environment
from memorax.environments.environment import EnvParams as EnvParams
from memorax.environments.environment import EnvState as EnvState
from memorax.environments.host import HostEnvironment as HostEnvironment
from memorax.environments.host import HostEnvironmentError as HostEnvironmentError
from memorax.environments.host import as_host as as_host
from memorax.environments.interface import as_environment as as_environment
from memorax.environments.missing import MissingExtraError as MissingExtraError
from memorax.environments.registration import ADAPTERS as ADAPTERS
from memorax.environments.registration import ENVIRONMENTS as ENVIRONMENTS
from memorax.environments.registration import Card as Card
from memorax.environments.registration import make as make
from memorax.environments.registration import register as register
from memorax.environments.registration import register_adapter as register_adapter
from memorax.environments.registration import registered as registered
