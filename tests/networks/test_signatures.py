"""Constructors show their arguments; each width has one name, and second names of it are valid."""

import dataclasses
import inspect

import pytest

from memorax import networks
from memorax.networks import LRUConfig, RTUConfig, S5Config, SHMConfig, mLSTMConfig, sequence_models
from memorax.networks.architectures import gpt2, gtrxl
from memorax.networks.sequence_models import GRU, LRU, MODELS, S5, SHM, Attention, Mamba, mLSTM, sLSTM
from memorax.networks.sequence_models.parts.cell import ConfiguredModule

CELLS = [
    value
    for value in vars(networks).values()
    if isinstance(value, type) and issubclass(value, ConfiguredModule) and value.configuration
]
TORSOS = [
    value
    for value in vars(sequence_models).values()
    if inspect.isfunction(value) and "hidden_dim" in inspect.signature(value).parameters
]


def names(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
def test_cells_show_the_fields_of_their_configuration(cell):
    fields = inspect.signature(cell.configuration).parameters
    assert names(cell) == ["config", *fields, "name"]
    for name, parameter in inspect.signature(cell).parameters.items():
        assert parameter.annotation is not inspect.Parameter.empty
        if name in fields:
            assert parameter.default == fields[name].default
    shown = [field.name for field in dataclasses.fields(cell.configuration)]
    assert [name for name in fields if name != "hidden_dim"] == shown


def test_all_cells_and_torsos_were_found():
    assert len(CELLS) == 27
    assert len(TORSOS) == 31
    configured = {cell.__name__.removesuffix("Cell") for cell in CELLS} - {"SelfAttention"} | {"Attention"}
    assert {torso.__name__ for torso in TORSOS} == configured | {"GRU", "LSTM", "MGU", "SimpleRNN"}


@pytest.mark.parametrize("torso", TORSOS, ids=lambda torso: torso.__name__)
def test_torsos_show_their_arguments(torso):
    parameters = inspect.signature(torso).parameters
    assert next(iter(parameters)) == "features"
    assert parameters["features"].default == 64
    assert list(parameters)[-1] == "hidden_dim"
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    assert "features: Width of" in torso.__doc__
    cell = getattr(torso(), "cell", torso())
    fields = names(type(cell.config)) if isinstance(cell, ConfiguredModule) else names(type(cell))
    assert set(parameters) - {"hidden_dim"} == set(fields) - {"hidden_dim", "name", "parent"}


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS.get(name).build in TORSOS])
def test_width_has_two_names_in_torsos(name):
    build = MODELS.get(name).build
    assert build(24) == build(features=24) == build(hidden_dim=24) == build(features=24, hidden_dim=24)
    message = r"`hidden_dim` is another name of `features` in `\w+`, got features=24 and hidden_dim=32; leave one"
    with pytest.raises(ValueError, match=message):
        build(features=24, hidden_dim=32)
    with pytest.raises(
        TypeError, match=f"`feature` is not an argument of `{build.__name__}`; its arguments are: features"
    ):
        build(feature=24)
    with pytest.raises(ValueError, match="`hidden_dim` must be at least 1, got 0"):
        build(hidden_dim=0)


@pytest.mark.parametrize(
    ("config", "field"), [(LRUConfig, "state_dim"), (RTUConfig, "state_dim"), (mLSTMConfig, "inner_dim")]
)
def test_state_sizes_have_two_names_in_configurations(config, field):
    built = config(hidden_dim=12)
    assert built == config(**{field: 12}) == config(**{field: 12}, hidden_dim=12)
    assert getattr(built, field) == built.hidden_dim == 12
    assert dataclasses.replace(built, features=3) == config(features=3, hidden_dim=12)
    assert "hidden_dim" not in repr(built)
    with pytest.raises(ValueError, match=f"`hidden_dim` is another name of `{field}` in `{config.__name__}`"):
        config(**{field: 12}, hidden_dim=16)
    with pytest.raises(ValueError, match="`hidden_dim` must be at least 1, got -1"):
        config(hidden_dim=-1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        built.hidden_dim = 3


def test_published_spelling_of_shm():
    built = SHMConfig(features=64, output_features=32)
    assert (built.memory_dim, built.features) == (64, 32)
    assert built == SHMConfig(features=32, memory_dim=64) == dataclasses.replace(built)
    with pytest.raises(ValueError, match="`memory_dim` is called `features` where `output_features` is given"):
        SHMConfig(features=64, memory_dim=16, output_features=32)


@pytest.mark.parametrize(
    ("build", "state", "want"),
    [
        (lambda: LRU(24), "state_dim", 24),
        (lambda: LRU(24, state_dim=None), "state_dim", 24),
        (lambda: LRU(24, state_dim=5), "state_dim", 5),
        (lambda: S5(7), "state_dim", 8),
        (lambda: SHM(7), "memory_dim", 7),
        (lambda: mLSTM(7), "inner_dim", 8),
        (lambda: sLSTM(7), "inner_dim", 8),
        (lambda: Mamba(7), "state_dim", 16),
    ],
)
def test_state_sizes_follow_the_width(build, state, want):
    assert getattr(build().cell.config, state) == want


def test_widths_of_heads_follow_the_width():
    assert Attention(24).config.head_dim == 6
    assert Attention(7).config.head_dim == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LRU(state_dim=-1), "`state_dim` must be at least 1, got -1"),
        (lambda: LRU(state_dim=0), "`state_dim` must be at least 1, got 0"),
        (lambda: S5Config(state_dim=0), "`state_dim` must be at least 1, got 0"),
        (lambda: S5(state_dim=-2), "`state_dim` must be at least 1, got -2"),
        (lambda: SHM(memory_dim=-1), "`memory_dim` must be at least 1, got -1"),
        (lambda: mLSTM(inner_dim=-4), "`inner_dim` must be at least 1, got -4"),
        (lambda: sLSTM(num_heads=0), "`num_heads` must be at least 1, got 0"),
        (lambda: GRU(0), "`features` must be at least 1, got 0"),
    ],
)
def test_errors_name_the_argument_that_was_given(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("build", [gtrxl, gpt2])
def test_architectures_refuse_a_width_of_two_meanings(build):
    with pytest.raises(TypeError, match=f"`{build.__name__}` has no `hidden_dim`; write `features` .*, or `ffn_dim`"):
        build(hidden_dim=32)
