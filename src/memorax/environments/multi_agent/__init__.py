"""Environments with several agents: their protocol, and the built-in tasks, a file for each."""

from collections.abc import Callable
from typing import Any

from memorax.environments.multi_agent.environment import MultiAgentEnvironment as MultiAgentEnvironment
from memorax.environments.multi_agent.environment import stack_space as stack_space
from memorax.environments.multi_agent.partner_recall import PartnerRecall as PartnerRecall
from memorax.environments.multi_agent.roll_call import RollCall as RollCall

TASKS: dict[str, Callable[..., MultiAgentEnvironment[Any, Any]]] = {
    task.__name__: task for task in (PartnerRecall, RollCall)
}
"""Every built-in multi-agent task by name."""
