import pytest

from memorax.core.registry import Registry


@pytest.fixture
def models():
    registry = Registry("memory model")
    for name in ("lstm", "gru", "Mamba2"):
        registry.register(name, name.upper())
    return registry


def test_it_is_a_sorted_collection_of_names(models):
    assert models.names() == tuple(models) == ("Mamba2", "gru", "lstm")
    assert len(models) == 3
    assert "gru" in models
    assert "gruu" not in models


def test_it_returns_what_was_registered(models):
    entry = object()
    assert models.register("s5", entry) is entry
    assert models.get("s5") is entry


@pytest.mark.parametrize(("name", "nearest"), [("gruu", "gru"), ("LSTM", "lstm"), ("mamba", "Mamba2")])
def test_a_near_miss_is_suggested(models, name, nearest):
    with pytest.raises(
        ValueError, match=f"unknown memory model `{name}`; nearest: {nearest}; known: Mamba2, gru, lstm"
    ):
        models.get(name)


def test_nothing_is_suggested_from_afar(models):
    with pytest.raises(ValueError, match=r"^unknown memory model `transformer`; known: Mamba2, gru, lstm$"):
        models.get("transformer")


def test_an_empty_registry_says_so():
    with pytest.raises(ValueError, match="unknown head `q`; known: none"):
        Registry("head").get("q")


def test_long_lists_are_cut():
    registry = Registry("task")
    for i in range(25):
        registry.register(f"task{i:02}", i)
    with pytest.raises(ValueError, match=r"task19, \.\.\. \(25 in all\)$"):
        registry.get("other")


def test_the_command_that_lists_all_is_named_where_a_list_is_cut():
    registry = Registry("agent", listing="memorax list agents")
    for i in range(25):
        registry.register(f"agent{i:02}", i)
    with pytest.raises(ValueError, match=r"\(25 in all; `memorax list agents` shows them\)$"):
        registry.get("other")
    with pytest.raises(ValueError, match="`name` of an agent must be new"):
        registry.register("agent00", 1)


def test_a_name_is_taken_once(models):
    with pytest.raises(ValueError, match="`name` of a memory model must be new, got `gru`"):
        models.register("gru", "another")
    assert models.get("gru") == "GRU"


def test_a_name_is_a_word(models):
    with pytest.raises(ValueError, match="`name` of a memory model must not be empty"):
        models.register(" ", 1)
    with pytest.raises(TypeError, match="`name` of a memory model must be a string, got 3"):
        models.register(3, 1)
