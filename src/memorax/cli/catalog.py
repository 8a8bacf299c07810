"""Tables of the environments, memory models and algorithms that are known by name."""

import inspect
from typing import Any

from rich.table import Table
from rich.text import Text

_ENVIRONMENTS = """\
remember: number of steps for which information must be remembered. steps: maximum episode length.
best: expected return of the optimal policy. memoryless: the same for the best policy without memory.
-: unknown, or not a single number. All with default arguments; `--env-options length=20` changes them."""
_AT_MOST = 60  # names of a library that are shown unasked: EnvPool has 1,650
_LIBRARIES = 'Other libraries, as LIBRARY::NAME after `pip install "memorax[LIBRARY]"`, written with hyphens:'


def environments() -> Table:
    """All registered environments, with spaces, memory length, episode length and best returns."""
    from memorax.environments import ENVIRONMENTS, registered
    from memorax.environments.libraries import ADAPTERS

    ENVIRONMENTS.load_plugins()
    table = Table(
        title="environments",
        caption=Text(f"{_ENVIRONMENTS}\n{_LIBRARIES} {', '.join(ADAPTERS)}."),
        caption_justify="left",
        padding=(0, 1, 0, 0),
    )
    table.add_column("name", no_wrap=True)
    table.add_column("task", min_width=24)
    for name in ("observations", "actions"):
        table.add_column(name, overflow="fold")
    for name in ("remember", "steps", "best", "memoryless"):
        table.add_column(name, justify="right", no_wrap=True)
    said = ""
    for card in sorted(registered(), key=lambda card: _easy_first(card.id)):
        spaces = _space(card.observation_space), _space(card.action_space)
        numbers = (card.memory_length, card.horizon, card.optimal_return, card.memoryless_return)
        # Said once for all difficulties.
        description = "" if card.description == said else card.description
        table.add_row(card.id, description, *spaces, *(_known(x) for x in numbers))
        said = card.description
    return table


def libraries() -> Table | None:
    """Names of the environments of each library that is installed, the first ones; None where there is none."""
    from memorax.environments.libraries import library_names

    found = library_names()
    return _libraries(found, _AT_MOST) if found else None


def library(namespace: str) -> Table:
    """Names of all environments of one library.

    Args:
        namespace: Its namespace.

    Raises:
        MissingExtraError: If it is not installed.
        ValueError: If there is no such library, or it does not name its environments.
    """
    from memorax.environments.libraries import adapter_make, names_of

    adapter_make(namespace)
    names = names_of(namespace)
    if not names:
        raise ValueError(f"`library` must be one that names its environments, got `{namespace}`, which does not")
    return _libraries({namespace: names}, len(names))


def _libraries(found: dict[str, tuple[str, ...]], at_most: int) -> Table:
    table = Table(title="environments of libraries, as `NAMESPACE::NAME`", padding=(0, 1, 0, 0))
    table.add_column("namespace", no_wrap=True)
    table.add_column("names", overflow="fold")
    for namespace, names in found.items():
        more = len(names) - at_most
        rest = f", and {more:,} more: memorax list environments --library {namespace}" if more > 0 else ""
        table.add_row(namespace, Text(", ".join(names[:at_most]) + rest))
    return table


def models(*, costs: bool = False) -> Table:
    """All registered memory models.

    Args:
        costs: Whether to show what a step costs at 64 features, which compiles each of them.
    """
    from memorax.networks.sequence_models import MODELS

    MODELS.load_plugins()
    table = _two_columns("memory models")
    if not costs:
        for name in MODELS:
            table.add_row(name, _first_line(MODELS.get(name).build))
        return table
    from memorax.experiment.report.costs import measure_costs

    table.caption = "one step of one environment, 64 features in and out; FLOPs and bytes moved of the compiled program"
    for name in ("parameters", "memory", "FLOPs", "moved"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in MODELS:
        cost = measure_costs(name)
        numbers = _short(cost.parameters), f"{_short(cost.state)}B", _short(cost.flops), f"{_short(cost.traffic)}B"
        table.add_row(name, _first_line(MODELS.get(name).build), *numbers)
    return table


def algorithms() -> Table:
    """All registered algorithms."""
    from memorax.algorithms import ALGORITHMS
    from memorax.experiment.recipes import RECIPES

    RECIPES.load_plugins()
    table = _two_columns("algorithms")
    for name in ALGORITHMS:
        algorithm, _ = ALGORITHMS.get(name)
        table.add_row(name, _first_line(algorithm))
    return table


def _two_columns(title: str) -> Table:
    table = Table(title=title)
    table.add_column("name", no_wrap=True)
    table.add_column("description")
    return table


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _easy_first(name: str) -> tuple[str, int]:
    """Where an environment stands in the list: by name, and difficulties as they grow."""
    from memorax.environments.memory import DIFFICULTIES

    for rank, level in enumerate(DIFFICULTIES):
        if name.endswith(level):
            return name.removesuffix(level), rank
    return name, 0


def _known(number: float | None) -> str:
    return "-" if number is None else str(number) if isinstance(number, int) else f"{number:.3g}"


def _short(number: int) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number} "


def _space(space: Any) -> str:
    kind = type(space).__name__
    return f"{kind}({space.n})" if hasattr(space, "n") else f"{kind}{tuple(getattr(space, 'shape', ()))}"
