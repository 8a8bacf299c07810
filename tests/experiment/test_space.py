import numpy as np
import pytest

from memorax.experiment.space import (
    Choice,
    LogUniform,
    Uniform,
    draw,
    make_dimension,
    read_space,
    space_from_dict,
    space_to_dict,
    write_space,
)

FRACTIONS = np.linspace(0.0, 1.0, 20_000, endpoint=False)


def test_real_numbers_fill_the_interval_evenly():
    values = [Uniform(-1.0, 3.0).at(fraction) for fraction in FRACTIONS]
    assert min(values) == -1.0
    assert 2.99 < max(values) < 3.0
    assert np.mean(values) == pytest.approx(1.0, abs=1e-3)


def test_orders_of_magnitude_are_equally_likely():
    values = np.array([LogUniform(1e-4, 1e-1).at(fraction) for fraction in FRACTIONS])
    assert values.min() == pytest.approx(1e-4)
    for low in (1e-4, 1e-3, 1e-2):
        assert np.mean((values >= low) & (values < 10 * low)) == pytest.approx(1 / 3, abs=1e-3)


def test_integers_are_drawn_between_integers_and_equally_often():
    values, counts = np.unique([Uniform(2, 5).at(fraction) for fraction in FRACTIONS], return_counts=True)
    assert values.tolist() == [2, 3, 4, 5]
    assert counts.max() - counts.min() <= 1
    assert isinstance(Uniform(2, 5).at(0.3), int)


def test_log_uniform_integers_stay_in_the_interval_and_favour_small_ones():
    values, counts = np.unique([LogUniform(1, 64).at(fraction) for fraction in FRACTIONS], return_counts=True)
    assert (values[0], values[-1]) == (1, 64)
    assert counts[0] > 5 * counts[16]
    assert isinstance(LogUniform(1, 64).at(0.999999), int)


def test_choices_are_equally_likely():
    values, counts = np.unique([Choice(("gru", "lru", "mlp")).at(f) for f in FRACTIONS], return_counts=True)
    assert values.tolist() == ["gru", "lru", "mlp"]
    assert counts.max() - counts.min() <= 1


def test_a_trial_has_the_same_settings_whenever_they_are_drawn():
    space = {"a": Uniform(0.0, 1.0), "b": Choice((1, 2))}
    assert draw(space, 3, 7) == draw(space, 3, 7)
    drawn = [draw(space, seed, number)["a"] for seed in (3, 4) for number in (7, 8)]
    assert len(set(drawn)) == 4


def test_words_of_the_command_line():
    words = ["learning_rate=log_uniform:1e-4,1e-2", "num_steps=choice:32,64", "share_trunk=choice:true,false"]
    space = read_space(words)
    assert space == {
        "learning_rate": LogUniform(1e-4, 1e-2),
        "num_steps": Choice((32, 64)),
        "share_trunk": Choice((True, False)),
    }
    assert read_space([f"{name}={dimension}" for name, dimension in space.items()]) == space


def test_files_have_spaces_that_come_back():
    # YAML has 1e-4, without a point, as a string.
    content = {"learning_rate": {"log_uniform": ["1e-4", 1e-2]}, "model": {"choice": ["gru", "mlp"]}}
    space = space_from_dict(content)
    assert space == {"learning_rate": LogUniform(1e-4, 1e-2), "model": Choice(("gru", "mlp"))}
    assert space_from_dict(space_to_dict(space)) == space
    assert read_space(write_space(content)) == space


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gamma"], "must have the form"),
        (["gamma=uniform"], "must have the form"),
        (["gamma=normal:0,1"], "must be one of log_uniform, uniform, choice, got normal"),
        (["gamma=uniform:0.9"], "two bounds"),
        (["gamma=uniform:0.9,0.1"], "`low` must be below"),
        (["gamma=log_uniform:0,0.1"], "above 0"),
        (["gamma=choice:0.9"], "at least two"),
        (["gamma=choice:0.9,0.9"], "at least two different"),
        (["gamma=uniform:0,1", "gamma=uniform:0,1"], "twice"),
        (["gamma=uniform:0,inf"], "finite"),
    ],
)
def test_words_that_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        read_space(words)


def test_values_of_a_wrong_kind_are_refused():
    with pytest.raises(TypeError, match="a number"):
        make_dimension("gamma", "uniform", ["low", "high"])
    with pytest.raises(TypeError, match="one of log_uniform, uniform, choice and its values"):
        space_from_dict({"gamma": [0.9, 0.99]})
    with pytest.raises(ValueError, match="commas"):
        write_space({"model": {"choice": ["a,b", "c"]}})
