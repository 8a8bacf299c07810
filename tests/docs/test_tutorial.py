"""The tutorial notebook is valid and runs, and what it says about its agents is so."""

import ast
import json
import re
from types import ModuleType

import numpy as np
import pytest
from tests.docs.test_documentation import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def read():
    return json.loads(NOTEBOOK.read_text())


def code_cells():
    """The source of every code cell, by its id."""
    return {cell["id"]: "".join(cell["source"]) for cell in read()["cells"] if cell["cell_type"] == "code"}


def run(name, source, namespace):
    """Run a cell, and show its last expression, as notebooks do; pictures are shown as PNG."""
    *body, last = ast.parse(source).body
    shown = isinstance(last, ast.Expr)
    where = f"{NOTEBOOK.name}, cell {name}"
    exec(compile(ast.Module(body if shown else [*body, last], []), where, "exec"), namespace)
    if shown:
        value = eval(compile(ast.Expression(last.value), where, "eval"), namespace)
        return value._repr_png_() if hasattr(value, "_repr_png_") else repr(value)
    return None


def test_the_notebook_is_valid():
    # The schema of nbformat 4.5, as far as a notebook without outputs and attachments uses it.
    notebook = read()
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}, "nothing of the program that edited it"
    assert set(notebook["metadata"]["kernelspec"]) == {"display_name", "language", "name"}
    common = {"cell_type", "id", "metadata", "source"}
    for cell in notebook["cells"]:
        outputs = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert cell["cell_type"] in {"code", "markdown"}
        assert set(cell) == common | outputs
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert isinstance(cell["source"], list)
        assert all(line.endswith("\n") for line in cell["source"][:-1])
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


def test_the_notebook_is_stored_without_outputs_and_paths():
    cells = [cell for cell in read()["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []
    assert re.findall(r"(?:/home|/Users|/root|/tmp|/work|[A-Z]:\\)[/\w]*", NOTEBOOK.read_text()) == []
    assert NOTEBOOK.stat().st_size < 50_000


def test_the_code_compiles_and_its_names_exist():
    trees = [ast.parse(source, name) for name, source in code_cells().items()]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {}
    exec(compile(ast.Module(imports, []), NOTEBOOK.name, "exec"), found)
    assert {"memorax", "diagnostics"} <= set(found)
    uses = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    names = [(node.value.id, node.attr) for node in uses if isinstance(found.get(node.value.id), ModuleType)]
    assert ("diagnostics", "probe") in names
    assert [f"{module}.{name}" for module, name in names if not hasattr(found[module], name)] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs_and_its_diagnosis_makes_sense(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {"__name__": "__main__"}
    shown = {name: run(name, source, found) for name, source in code_cells().items()}
    for name in ("train-control", "picture"):
        assert shown[name].startswith(b"\x89PNG"), name

    with_memory, without = (found["returns"][found[run].folder]["mean"] for run in ("gru", "control"))
    assert with_memory >= 0.95
    assert abs(without) <= 0.3, "nothing but memory solves the task"
    assert found["pair"].verdict.startswith(found["pair"].first), "the better run is named"

    np.testing.assert_array_equal(found["last"][0], found["last"][1])
    assert found["answers"].tolist() == [0, 1]
    assert len(set(found["answers_without"].tolist())) == 1

    recall, control = found["recall"], found["control_recall"]
    assert recall.reach(quantity="policy") in {5, 6}, "the bit is shown six and five steps before the answer"
    assert control.reach() == control.reach(quantity="policy") == 0
    assert not np.any(control.perturbation["policy"][1:])

    ablation = found["ablation"]
    assert ablation.intact.mean >= 0.95
    for k in (1, 2, 4):
        assert ablation.reset[k].mean <= 0.4, k
    assert ablation.swap[4].mean <= 0.5

    bit = found["bit"]
    assert bit.score >= 0.95
    assert np.all(bit.over_time[:7] >= 0.9)
    assert bit.from_observation <= 0.8
    assert bit.chance <= 0.65

    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (found["gru"].folder / "diagnosis.png").stat().st_size > 10_000
