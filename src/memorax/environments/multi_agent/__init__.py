"""Environments with several agents: what they are, and the embedded tasks, a file a task."""

from collections.abc import Callable
from typing import Any

from memorax.environments.multi_agent.environment import MultiAgentEnvironment as MultiAgentEnvironment
from memorax.environments.multi_agent.environment import side_by_side as side_by_side
from memorax.environments.multi_agent.partner_recall import PartnerRecall as PartnerRecall
from memorax.environments.multi_agent.roll_call import RollCall as RollCall

TASKS: dict[str, Callable[..., MultiAgentEnvironment[Any, Any]]] = {
    task.__name__: task for task in (PartnerRecall, RollCall)
}
"""Every embedded task for several agents by name."""
