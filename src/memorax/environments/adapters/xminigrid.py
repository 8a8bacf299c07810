"""The environments of XLand-MiniGrid, as `xminigrid::<id>`."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import size
from memorax.core.spaces import Box, Dict, Discrete, Space
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, check_name, one_hot_cells, pooled
from memorax.environments.environment import Environment
from memorax.environments.missing import MissingExtraError

try:
    import xminigrid  # pyright: ignore[reportMissingImports] (an extra that the checker does without)
except ModuleNotFoundError as error:
    if error.name != "xminigrid":
        raise
    raise MissingExtraError("xminigrid") from error
