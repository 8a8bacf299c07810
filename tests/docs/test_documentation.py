"""Every Python block of README and docs runs, and every `memorax ...` line is one the command line understands."""

import contextlib
import importlib
import re
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
SLOW = {
    "docs/coming-from.md",
    "docs/diagnostics.md",
    "docs/getting-started.md",
    "docs/hyperparameters.md",
    "docs/reports.md",
    "docs/results/index.md",
    "docs/seeds.md",
    "docs/sweeps.md",
    "docs/training.md",
}  # compile what the README compiles, in full and for several seeds
LANGUAGES = {"python", "bash", "text", "json", "toml", "yaml", "{eval-rst}"}
RESUMED = ["--space", "gamma=uniform:0.9,0.99"]
"""What the folder of a sweep would have said."""
FENCE = re.compile(r"^```(?P<language>\S*)[^\n]*\n(?P<code>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page its text begins in."""

    language: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    return [
        Block(match["language"], match["code"], text.count("\n", 0, match.start()) + 2)
        for match in FENCE.finditer(text)
    ]


def run(page: Path, text: str) -> None:
    """Run a page's Python blocks in order, in one namespace; an error points at the page's own line."""
    namespace = {"__name__": "__main__"}
    for block in blocks(text):
        if block.language == "python":
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            exec(code, namespace)


def commands(text: str) -> list[list[str]]:
    """The arguments of every `memorax` call in the page's shell blocks."""
    found = []
    for block in blocks(text):
        if block.language == "bash":
            lines = block.code.replace("\\\n", " ").splitlines()
            split = (shlex.split(line, comments=True) for line in lines)
            found += [words[1:] for words in split if words[:1] == ["memorax"]]
    return found


def write_files(text: str, folder: Path) -> None:
    """Write the YAML files of a page, whose first line is their name."""
    for block in blocks(text):
        if block.language == "yaml":
            name, _, content = block.code.partition("\n")
            (folder / name.removeprefix("# ")).write_text(content)


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_code(pages: list[Path]) -> list[Path]:
    return [page for page in pages if any(block.language == "python" for block in blocks(page.read_text()))]


def marked(page: Path):
    return pytest.param(page, id=relative(page), marks=[pytest.mark.slow] if relative(page) in SLOW else [])


@pytest.mark.parametrize("page", [marked(page) for page in with_code(PAGES)])
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, page.read_text())


def check_command(words: list[str]) -> None:
    """Parse a command as the command line would, and look its names up; nothing is run."""
    from memorax.cli import sweep, train
    from memorax.cli.commands import COMMANDS
    from memorax.cli.grid import combinations, is_grid
    from memorax.cli.options import parse
    from memorax.environments.missing import MissingExtraError
    from memorax.experiment.imports import make_environment
    from memorax.networks.sequence_models import MODELS

    command, arguments = words[0], words[1:]
    if command == "train":
        # Resuming and forking read a run's folder, which is not there.
        arguments = [word for word in arguments if word != "--resume"]
        forks = "--fork" in arguments
        if forks:
            place = arguments.index("--fork")
            del arguments[place : place + 2]
        if is_grid(arguments):
            arguments = next(iter(combinations(arguments).values()))
        run, _, _ = train.train_options(arguments)
        if forks:
            return  # its environment is that of the other run
        with contextlib.suppress(MissingExtraError):  # its name and options are that library's business
            make_environment(run.env, run.env_options)
        MODELS.get(run.model)
        return
    if command == "sweep":
        sweep.sweep_options([word for word in arguments if word != "--resume"] + RESUMED * ("--resume" in arguments))
        return
    assert command in COMMANDS
    module = importlib.import_module(f"memorax.cli.{command}")
    parsed = parse(getattr(module, f"{command.capitalize()}Options"), command, arguments)
    if command == "list":
        assert parsed.what in {"environments", "models", "algorithms"}


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page.read_text())], ids=relative)
def test_commands_are_understood(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(page.read_text(), tmp_path)
    for words in commands(page.read_text()):
        check_command(words)


@pytest.mark.parametrize(
    "words",
    [["train", "--no-such-option"], ["train", "--model", "gruu"], ["list", "planets"], ["trian"], ["evaluate"]],
    ids=" ".join,
)
def test_a_wrong_command_is_found(words):
    with pytest.raises((SystemExit, ValueError, AssertionError, KeyError)):
        check_command(words)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_blocks_say_what_they_are(page):
    # A block without a language, or with another one, would escape the tests above.
    text = page.read_text()
    assert [f"line {b.line}: {b.language!r}" for b in blocks(text) if b.language not in LANGUAGES] == []
    assert text.count("\n```") == 2 * len(blocks(text)), "a block is opened and not closed"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page):
    targets = [match["target"] for match in LINK.finditer(page.read_text())]
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_configuration_table_of_ppo_is_complete():
    from memorax.algorithms import PPOConfig

    section = (ROOT / "docs" / "algorithms" / "ppo.md").read_text().split("## Configuration\n")[1].split("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \| (\S+) \|", section, re.MULTILINE)
    assert table == [(field.name, str(field.default)) for field in fields(PPOConfig)]


def test_a_failing_block_is_found():
    text = "# Page\n\n```python\nx = 1\n```\n\nwords\n\n```python\nassert x == 2\n```\n"
    with pytest.raises(AssertionError) as error:
        run(Path("page.md"), text)
    assert error.traceback[-1].lineno + 1 == 10


def test_commands_are_read():
    text = (
        "```bash\npip install memorax  # once\nmemorax train ppo \\\n  --steps 10  # short\nmemorax list models\n```\n"
    )
    assert commands(text) == [["train", "ppo", "--steps", "10"], ["list", "models"]]
