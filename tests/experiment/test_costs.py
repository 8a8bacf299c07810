import pytest
from rich.console import Console

from memorax.cli import catalog
from memorax.experiment.report.costs import measure_costs
from memorax.networks.sequence_models import MODELS


def test_costs_of_a_gru_are_those_of_its_matrices():
    width = 13
    costs = measure_costs("gru", features=width)
    matrices = 6 * width * width
    assert costs.parameters == matrices + 4 * width  # three input biases, one inside the recurrent product
    assert costs.state == 4 * width
    assert 2 * matrices <= costs.flops <= 3 * matrices
    assert costs.traffic >= 4 * costs.parameters


def test_a_model_without_memory_has_no_state():
    assert measure_costs("mlp", features=7).state == 0


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="unknown memory model `gruu`"):
        measure_costs("gruu")


@pytest.mark.slow
def test_the_list_of_models_names_all_with_their_costs():
    console = Console(width=200, record=True)
    console.print(catalog.models(costs=True))
    text = console.export_text()
    for name in MODELS:
        assert f" {name} " in text
    assert " 0 B " in text


@pytest.mark.parametrize(("number", "text"), [(7, "7 "), (999, "999 "), (16_384, "16.4 k"), (2_500_000, "2.5 M")])
def test_numbers_are_written_short(number, text):
    assert catalog._short(number) == text
