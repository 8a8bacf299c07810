"""A population: who copies whom, and that a killed one goes on as if nothing had happened."""

import dataclasses
import io
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import UPDATE, FakeAgent, config
from tests.experiment.test_run import metrics, saved_steps

from memorax import lox
from memorax.experiment import DivergenceError, Population, load_config, pbt
from memorax.experiment.changes import rewound
from memorax.experiment.config_file import numeric_fields
from memorax.experiment.loggers import read_rows
from memorax.experiment.population import train as population_training
from memorax.experiment.population.config import load_population
from memorax.experiment.population.exchange import choose, copied
from memorax.experiment.population.rounds import Rounds, score
from memorax.experiment.run import checkpoint, cores
from memorax.experiment.run import train as training
from memorax.experiment.run import train_many as many
from memorax.experiment.sweep import Choice, LogUniform, Uniform

QUIET = {"console": Console(file=io.StringIO())}
RATES = {"learning_rate": LogUniform(1e-3, 1.0)}
POPULATION = Population(space=RATES, every=2 * UPDATE, share=0.4, seed=3)


class Climber(FakeAgent):
    """Climbs as fast as its learning rate says, and falls where that is above `limit`."""

    def __init__(self, limit=2.0):
        super().__init__()
        self.limit = limit

    def hyperparameters(self):
        return {"learning_rate": 3e-4}

    def init(self, key):
        return dataclasses.replace(super().init(key), hyperparameters={"learning_rate": jnp.float32(3e-4)})

    def train(self, key, state, num_steps):
        rate = state.hyperparameters["learning_rate"]

        def body(state, _):
            noise = 0.01 * jax.random.normal(state.step.fold_into(key), (5,))
            climbed = jnp.where(rate > self.limit, jnp.nan, UPDATE * rate)
            position = state.learner["position"] + noise + climbed
            lox.log(
                {
                    "returned_episode": jnp.array([True, False]),
                    "returned_episode_returns": position[:2],
                    "returned_episode_lengths": jnp.full(2, UPDATE),
                }
            )
            learner = state.learner | {"position": position}
            return dataclasses.replace(state, step=state.step + UPDATE, learner=learner), None

        return jax.lax.scan(body, state, None, length=num_steps // UPDATE)[0]


def use(patch, agent):
    for module in (training, many):
        patch.setattr(module, "build_agent", lambda config: agent)
    patch.setattr(training, "write_summary", lambda *args: {"final": {}})
    patch.setattr(population_training, "plot_population", lambda folder: None)


@pytest.fixture(autouse=True)
def agent(monkeypatch):
    """The stand-in, in place of what the configuration asks for; nothing is drawn."""
    agent = Climber()
    use(monkeypatch, agent)
    return agent


def run(**fields):
    return config(**{"seeds": 5, "steps": 12 * UPDATE, "log_every": UPDATE, "checkpoint_every": 3 * UPDATE} | fields)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A population that nothing has stopped."""
    folder = tmp_path_factory.mktemp("whole") / "population"
    with pytest.MonkeyPatch.context() as patch:
        use(patch, Climber())
        pbt(run(), POPULATION, folder, **QUIET)
    return folder


def folders(base):
    return [base / f"member-{i:02d}" for i in range(5)]


def states(base, agent):
    abstract = jax.eval_shape(jax.vmap(agent.init), jax.random.split(jax.random.key(0), 1))
    return [checkpoint.restore(checkpoint.newest(folder / "checkpoints"), abstract) for folder in folders(base)]


def assert_same(a, b, agent):
    for x, y in zip(folders(a), folders(b), strict=True):
        assert metrics(x) == metrics(y)
        assert load_config(x) == load_config(y)
    jax.tree.map(np.testing.assert_array_equal, states(a, agent), states(b, agent))


def test_the_worst_copy_the_best_and_change_what_they_copied(whole):
    histories = [load_config(folder).history for folder in folders(whole)]
    assert sum(map(len, histories)) >= 4
    every = {change["step"] for history in histories for change in history}
    assert every <= set(range(2 * UPDATE, 12 * UPDATE, 2 * UPDATE))
    for member, history in enumerate(histories):
        for change in history:
            source = change["copied"]
            assert source != member
            theirs = rewound(load_config(folders(whole)[source]), change["step"]).learning_rate
            low, high = theirs * 0.8, min(theirs * 1.25, 1.0)
            assert 1e-3 <= change["after"]["learning_rate"] <= 1.0
            resampled = not np.isclose(change["after"]["learning_rate"], [low, high]).any()
            assert resampled or change["after"]["learning_rate"] != theirs
    final = [load_config(folder).learning_rate for folder in folders(whole)]
    began = [rewound(load_config(folder), 0).learning_rate for folder in folders(whole)]
    assert np.mean(final) > np.mean(began)


def test_what_a_copy_has_learned_is_what_its_source_had(whole):
    """The returns of the next interval begin where the source was."""
    returns = [{row["step"]: row["episode/return"] for row in read_rows(f / "metrics.jsonl")} for f in folders(whole)]
    for member, folder in enumerate(folders(whole)):
        for change in load_config(folder).history:
            before = returns[change["copied"]][change["step"]]
            assert before > returns[member][change["step"]]
            expected = before + UPDATE * change["after"]["learning_rate"]
            assert abs(returns[member][change["step"] + UPDATE] - expected) < 0.1


def test_metrics_say_the_values_and_who_was_copied(whole):
    for folder in folders(whole):
        history = load_config(folder).history
        copied_at = {change["step"]: change["copied"] for change in history}
        for row in metrics(folder):
            then = rewound(load_config(folder), row["step"])
            assert row["hyperparameters/learning_rate"] == pytest.approx(then.learning_rate, rel=1e-6)
            assert row.get("population/copied") == copied_at.get(row["step"] - UPDATE)


def test_a_signal_stops_all_at_the_same_step_and_they_go_on_bit_for_bit(whole, agent, tmp_path, monkeypatch):
    before = Rounds.before

    def stop(self, lanes, parts):
        before(self, lanes, parts)
        if self.sessions[0].step == 4 * UPDATE:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Rounds, "before", stop)
    outcomes = pbt(run(), POPULATION, tmp_path / "pop", return_on_signal=True, **QUIET)
    assert {(outcome.step, outcome.signal) for outcome in outcomes} == {(5 * UPDATE, signal.SIGTERM)}
    monkeypatch.undo()
    use(monkeypatch, agent)
    outcomes = pbt(run(), POPULATION, tmp_path / "pop", resume=True, **QUIET)
    assert {outcome.step for outcome in outcomes} == {12 * UPDATE}
    assert_same(whole, tmp_path / "pop", agent)


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize(("step", "member"), [(1, 0), (1, 3), (4, 3), (6, 0), (9, 3)])
def test_one_that_was_killed_goes_on_bit_for_bit(step, member, whole, agent, tmp_path, monkeypatch):
    """Some members have saved a checkpoint, and others have not; histories are ahead of checkpoints."""
    base = tmp_path / "pop"
    save = training.Session._save

    def dying(self):
        if self.step >= step * UPDATE and self.folder.name == f"member-{member:02d}":
            raise Killed
        save(self)
        self.writer.wait()

    monkeypatch.setattr(training.Session, "_save", dying)
    with pytest.raises(Killed):
        pbt(run(), POPULATION, base, **QUIET)
    monkeypatch.setattr(training.Session, "_save", save)
    pbt(run(), POPULATION, base, resume=True, **QUIET)
    assert_same(whole, base, agent)


def test_cores_divide_the_members(agent, tmp_path, monkeypatch):
    for base, how in ((tmp_path / "one", {}), (tmp_path / "two", {"devices": "cores"})):
        pbt(run(seeds=4), POPULATION, base, **how, **QUIET)
        monkeypatch.setattr(cores, "_chosen", lambda: False)
    for folder in sorted((tmp_path / "one").glob("member-*")):
        assert metrics(folder) == metrics(tmp_path / "two" / folder.name)
        assert load_config(folder) == load_config(tmp_path / "two" / folder.name)
    assert any(load_config(folder).history for folder in (tmp_path / "one").glob("member-*"))


def test_it_can_be_trained_longer(whole, agent, tmp_path):
    pbt(run(steps=6 * UPDATE), POPULATION, tmp_path / "pop", **QUIET)
    assert saved_steps(folders(tmp_path / "pop")[0]) == [3 * UPDATE, 6 * UPDATE]
    pbt(run(), POPULATION, tmp_path / "pop", resume=True, **QUIET)
    assert_same(whole, tmp_path / "pop", agent)


def test_a_member_that_diverges_goes_on_as_a_copy(tmp_path, monkeypatch):
    use(monkeypatch, Climber(limit=0.3))
    said = io.StringIO()
    outcomes = pbt(run(), POPULATION, tmp_path / "pop", console=Console(file=said, width=200))
    assert all(outcome.error is None and outcome.step == 12 * UPDATE for outcome in outcomes)
    rows = [row for folder in folders(tmp_path / "pop") for row in metrics(folder)]
    diverged = [row for row in rows if "population/diverged" in row]
    assert diverged
    assert all(row["hyperparameters/learning_rate"] > 0.3 for row in diverged)
    assert said.getvalue().count("diverged: copies member-") == len(diverged)
    assert all(np.isfinite(value) for row in rows for value in row.values())


def test_where_all_diverge_the_error_is_told(tmp_path, monkeypatch):
    use(monkeypatch, Climber(limit=0.0))
    outcomes = pbt(run(), POPULATION, tmp_path / "pop", **QUIET)
    assert all(isinstance(outcome.error, DivergenceError) for outcome in outcomes)


def test_the_choice_is_truncation_selection():
    values = [{"learning_rate": 0.01 * (i + 1)} for i in range(5)]
    population = dataclasses.replace(POPULATION, resample=0.0)
    found = choose(population, [5.0, 1.0, None, 4.0, 2.0], values, 24, due=True)
    assert [copy.member for copy in found] == [1, 4]
    assert all(copy.source in {0, 3} and not copy.whole for copy in found)
    for copy in found:
        assert copy.values["learning_rate"] / values[copy.source]["learning_rate"] in {0.8, 1.25}
    assert choose(population, [5.0, 1.0, None, 4.0, 2.0], values, 24, due=True) == found
    assert choose(population, [1.0] * 5, values, 24, due=True) == []
    assert choose(population, [None] * 5, values, 24, due=True) == []
    assert choose(population, [5.0, 1.0, None, 4.0, 2.0], values, 24, due=False) == []
    (copy,) = choose(population, [5.0, 1.0, None, 4.0, 2.0], values, 24, due=False, diverged=[0])
    assert (copy.member, copy.whole) == (0, True)
    assert copy.source in {3, 4}
    uniform = dataclasses.replace(population, space={"learning_rate": Uniform(0.0, 0.04)})
    moved = [copy.values["learning_rate"] for copy in choose(uniform, [0.0, 1.0] * 2, values, 1, due=True)]
    assert all(0.0 <= value <= 0.04 for value in moved)
    drawn = dataclasses.replace(population, resample=1.0)
    (copy,) = choose(drawn, [0.0, 1.0, None], values[:3], 24, due=True)
    assert copy.values["learning_rate"] not in {0.8 * 0.02, 1.25 * 0.02}


def test_a_score_is_the_mean_over_episodes():
    rows = [{"episode/return": 1.0, "episode/count": 3}, {"losses/x": 0.0}, {"episode/return": 5.0, "episode/count": 1}]
    assert score(rows) == 2.0
    assert score(rows[1:2]) is None


def test_environments_stay_unless_all_is_copied(agent):
    state = jax.vmap(agent.init)(jax.random.split(jax.random.key(0), 3))
    state = dataclasses.replace(state, loop=jnp.arange(3.0), buffer=jnp.arange(3.0) * 10)
    own, other = np.arange(3), np.array([0, 1, 0])
    values = {"learning_rate": np.array([1.0, 2.0, 3.0])}
    learned = copied(state, other, own, values)
    np.testing.assert_array_equal(learned.learner["position"], state.learner["position"][other])
    np.testing.assert_array_equal(learned.loop, state.loop)
    np.testing.assert_array_equal(learned.hyperparameters["learning_rate"], values["learning_rate"])
    whole = copied(state, own, other, values)
    for name in ("loop", "buffer"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(state, name)[other])


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"space": {}}, ValueError, "`space` must have at least one hyperparameter, got none; write for example"),
        ({"space": ["gamma"]}, TypeError, "`space` must map names to bounds"),
        ({"space": {"gamma": Choice((0.9, 0.99))}}, ValueError, "`gamma` of `space` must have bounds"),
        ({"space": {"gamma": 0.9}}, TypeError, "`gamma` of `space` must be bounds such as LogUniform"),
        ({"space": RATES, "share": 0.6}, ValueError, "`share` must be"),
        ({"space": RATES, "factors": ()}, ValueError, "`factors` must"),
        ({"space": RATES, "resample": 1.5}, ValueError, "`resample` must be"),
        ({"space": RATES, "every": 0}, ValueError, "`every` must be at least 1"),
    ],
)
def test_a_population_is_checked_when_it_is_built(fields, error, message):
    with pytest.raises(error, match=message):
        Population(**fields)


@pytest.mark.parametrize(
    ("space", "fields", "message"),
    [
        ({"num_steps": Uniform(8, 16)}, {}, "`space` must be of real numbers that the run has in its state, got num_"),
        ({"weight_decay": Uniform(0.0, 1.0)}, {}, "`space` must be of real numbers that the run has in its state"),
        ({"gamma": Uniform(0.5, 1.5)}, {}, "`gamma` of `space` has 1.5, which is refused"),
        ({"gamma": Uniform(0.5, 1.0)}, {}, "`space` must be of real numbers that the agent has in its state, got gam"),
        (RATES, {"seeds": 1}, "`seeds` must be at least 2 for a population, of which each is a member, got 1"),
        (RATES, {"stop_at": 1.0, "stop_metric": "episode/return"}, "`stop_at` must be None in a population"),
        (RATES, {"steps": 2 * UPDATE}, r"`every` must be below `steps` \(24\), got 24"),
    ],
)
def test_what_a_run_does_not_take_is_refused(space, fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pbt(run(**fields), dataclasses.replace(POPULATION, space=space), tmp_path / "pop", **QUIET)
    assert not (tmp_path / "pop").exists()


def test_it_is_resumed_as_it_was_started(whole, tmp_path):
    with pytest.raises(ValueError, match=r"`share` must be 0.4 to resume .*, got 0.2"):
        pbt(run(), dataclasses.replace(POPULATION, share=0.2), whole, resume=True, **QUIET)
    with pytest.raises(ValueError, match=r"`learning_rate` must be 0.0003 to resume"):
        pbt(run(learning_rate=1e-3), POPULATION, whole, resume=True, **QUIET)
    with pytest.raises(ValueError, match="`folder` must be that of a population to resume it"):
        pbt(run(), POPULATION, tmp_path, resume=True, **QUIET)
    with pytest.raises(ValueError, match="`out` must be an empty or a new folder"):
        pbt(run(), POPULATION, whole, **QUIET)
    assert load_population(whole) == dataclasses.replace(POPULATION, space=RATES)
    assert numeric_fields(load_config(whole))["seeds"] == 5
    content = json.loads((whole / "population.json").read_text())
    assert content["space"] == {"learning_rate": {"log_uniform": [1e-3, 1.0]}}
