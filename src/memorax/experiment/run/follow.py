"""What the processes do that do not lead a run."""

import dataclasses
import signal
from pathlib import Path

from memorax.experiment.config_file import from_dict
from memorax.experiment.run.hosts import FollowedError, failing_together, group
from memorax.experiment.run.interrupt import Interruption
from memorax.experiment.run.session import Outcome
from memorax.experiment.run.train import Maker, beginning


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended, as the processes know that do not lead it.

    Attributes:
        folder: The run's folder, as the first process calls it.
        step: Number of environment steps that each seed has been trained for.
        signal: Number of the signal that stopped the run early; None if there was none.
        failed: Whether it ended by an error, which the first process tells.
    """

    folder: str = ""
    step: int = 0
    signal: int | None = None
    failed: bool = False


@failing_together()
def follow() -> End:
    """Compute this process's share of a run that the first process leads, until that one says that it has ended.

    SIGINT and SIGTERM are passed on: the whole run then ends after the interval, and is saved.

    Raises:
        LostProcessError: Another process cannot be reached.
    """
    here = group()
    what, given = here.receive()
    if what == "end":
        return End(**given)
    config, maker = from_dict(given["config"]), Maker()
    _, agent = maker.build(config)
    engine, evaluator = maker.equip(config, agent)
    with Interruption() as interruption:
        while True:
            what, given = here.receive()
            if what == "end":
                return End(**given)
            if what == "begin":
                engine.begin(given["warmup"], beginning(config, agent))
            elif what == "restore":
                engine.restore(Path(given["path"]), lambda origin: None)
            elif what == "evaluate" and evaluator is not None:
                evaluator.evaluate(engine.state, given["step"])
            else:
                getattr(engine, what)(**given)
            here.pass_on(interruption.signal)


def followed(*, return_on_signal: bool = False) -> Outcome:
    """Train a run that another process leads.

    Args:
        return_on_signal: As for `train`.

    Raises:
        LostProcessError: Another process has ended.
        FollowedError: The run ended by an error, which the first process tells.
    """
    end = follow()
    if end.failed:
        raise FollowedError("the run ended by an error; the first process says which")
    if end.signal is not None and not return_on_signal:
        signal.raise_signal(end.signal)
    return Outcome(Path(end.folder), end.step, end.signal)
