"""`memorax list WHAT [OPTIONS]`."""

import dataclasses
from typing import Annotated

import tyro

from memorax.cli.options import ImportOptions, parse
from memorax.cli.output import make_console
from memorax.cli.refusal import Refusal, choose, refusing


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListOptions(ImportOptions):
    """List the environments, memory models or algorithms that are known by name."""

    what: Annotated[str, tyro.conf.Positional]
    """`environments`, `models` or `algorithms`."""
    costs: bool = False
    """Also measure what each memory model costs per step: parameters, memory, FLOPs and bytes moved. Compiles every
    model, which takes about half a minute."""
    library: str | None = None
    """Only the environments of this library, such as `envpool`, and all of their names."""


def run(arguments: list[str]) -> int:
    """List names; see `memorax.cli.commands` for the exit code."""
    options = parse(ListOptions, "list", arguments)
    what = choose("list", options.what, ("environments", "models", "algorithms"))
    from memorax.cli import catalog
    from memorax.experiment.imports import import_modules

    refusing(import_modules, options.imports)

    if options.library is not None:
        if what != "environments":
            raise Refusal(f"`--library` must be given with `memorax list environments`, got `memorax list {what}`")
        make_console().print(refusing(catalog.library, options.library))
        return 0
    tables = {
        "environments": catalog.environments,
        "models": lambda: catalog.models(costs=options.costs),
        "algorithms": catalog.algorithms,
    }
    console = make_console()
    console.print(tables[what]())
    libraries = catalog.libraries() if what == "environments" else None
    if libraries is not None:
        console.print(libraries)
    return 0
