"""`memorax play` and `memorax export`."""

import contextlib
import io
import json

import pytest
from PIL import Image

from memorax.cli import main

TINY = ["--env", "memory::TMaze", "--env-options", "length=3", "--features", "5", "--seeds", "2", "--steps", "640"]
TINY += ["--num-envs", "4", "--num-steps", "16", "--num-minibatches", "2", "--update-epochs", "1"]


def run(*arguments):
    """Exit code, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(x) for x in arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    code, _, err = run("train", *TINY, "--out", folder)
    assert code == 0, err
    return folder


def test_play_writes_a_film_into_the_run(trained):
    code, out, err = run("play", trained, "--episodes", 2, "--max-steps", 9)
    assert code == 0, err
    assert out.splitlines()[0].startswith("episode 1: ")
    assert out.splitlines()[-1] == f"video: {trained / 'play.gif'}"
    with Image.open(trained / "play.gif") as film:
        assert film.n_frames > 1


def test_play_prints_steps_where_there_is_no_terminal(trained):
    code, out, err = run("play", trained, "--episodes", 1, "--max-steps", 4, "--human", "--seed", 1)
    assert code == 0, err
    assert out.startswith("episode 1  step    1  action ")


def test_play_writes_where_it_is_told(trained, tmp_path):
    code, _, err = run(
        "play", trained, "--episodes", 1, "--max-steps", 3, "--out", tmp_path / "x.gif", "--step", "last"
    )
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["x.gif"]


@pytest.mark.parametrize("form", ["stablehlo", "onnx", "safetensors"])
def test_export_writes_a_folder(form, trained, tmp_path):
    library = {"stablehlo": "flatbuffers", "onnx": "onnx", "safetensors": "safetensors"}[form]
    pytest.importorskip(library, reason=f"the format {form} needs {library}")
    code, out, err = run("export", trained, "--format", form, "--out", tmp_path / "there", "--seed", 1)
    assert code == 0, err
    assert out.splitlines()[-1] == f"exported to {tmp_path / 'there'}; `load.py` there is how to use it"
    card = json.loads((tmp_path / "there" / "card.json").read_text())
    assert card["format"] == form
    assert (tmp_path / "there" / card["file"]).stat().st_size > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play", "RUN", "--out", "film.avi"], "`out` must end in .gif, .mp4 or .html, got film.avi"),
        (["play", "RUN", "--out", "film.html"], "has no viewer for pages"),
        (["play", "RUN", "--episodes", "0"], "`episodes` must be"),
        (["play", "RUN", "--fps", "0"], "`fps` must be"),
        (["play", "nowhere"], "must be a run's folder"),
        (["play", "RUN", "--step", "7"], "`step` must be"),
        (["play", "RUN", "--seed", "9"], "`seed` must be a seed of"),
        (["export", "RUN", "--out", "RUN"], "`out` must be a new or an empty folder"),
        (["export", "nowhere", "--out", "there"], "must be a run's folder"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_done_is_refused(arguments, message, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*[trained if word == "RUN" else word for word in arguments])
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []
