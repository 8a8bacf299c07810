import pytest
from tests.experiment.fake_agent import config

from memorax.experiment.variants import variants


def names(**fields):
    option = fields.pop("option", None)
    values = fields.pop("values", ())
    return list(variants(config(**fields), option, values))


def test_the_length_varies_where_there_is_one():
    found = variants(config(env="memory::MemoryChain", env_options={"length": 6, "num_bits": 2}))
    assert list(found) == ["length=3", "length=6", "length=12", "length=24", "length=48"]
    assert [int(params.length) for _, params in found.values()] == [3, 6, 12, 24, 48]
    assert all(env.num_bits == 2 for env, _ in found.values()), "the other options stay"
    assert names(env="memory::MemoryChain")[1] == "length=10", "the default length counts"


def test_levels_of_difficulty_with_the_same_spaces_vary():
    assert names(env="memory::RepeatPreviousMedium", env_options={}) == ["Easy", "Medium", "Hard"]
    assert names(env="memory::ConcentrationEasy", env_options={}) == ["Easy"], "the others have more cards"


def test_any_argument_can_vary():
    assert names(env="memory::MemoryChain", option="num_bits", values=(1, 2)) == ["num_bits=1", "num_bits=2"]
    with pytest.raises(TypeError, match="`values` must be given for `colour`"):
        names(env="memory::MemoryChain", option="colour")
    with pytest.raises(TypeError):
        names(env="memory::MemoryChain", option="colour", values=(1,))
