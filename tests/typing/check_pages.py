"""Type-check the Python blocks of README and docs as the programs of a user: `python -m tests.typing.check_pages`."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
CONFIG = {
    "typeCheckingMode": "standard",
    "pythonVersion": "3.11",
    "extraPaths": [str(ROOT / "src")],
    "reportMissingImports": "none",  # pages show libraries that are optional
    "reportMissingModuleSource": "none",
}
KNOWN = {
    ("docs_algorithms_mappo", 'attribute "agent_action_space" for class "Environment'): "`make` gives the base class",
    ("docs_environments", 'attribute "render" for class "Environment'): "`make` gives the base class",
    ("docs_getting_started", 'attribute "n" for class "Space"'): "`action_space` gives the base class",
    ("docs_policies", 'attribute "n" for class "Space"'): "`action_space` gives the base class",
    ("docs_environments", "property"): "a task's name is an attribute where the base class has a property",
    ("docs_algorithms_r2d2", 'Buffer | None" in function "__init__"'): "flashbax types its buffers' functions loosely",
}
"""What is wrong with which page, by a part of the message, and why it stays."""


def pages() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if "_build" not in page.parts]


def program(text: str) -> str:
    """A page's blocks as one module, whose lines have the numbers that they have on the page; empty without blocks."""
    lines = [""] * len(text.splitlines())
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        code = block[1].splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines).rstrip() + "\n" if any(lines) else ""


def errors(programs: dict[str, str]) -> list[str]:
    """What the type checker finds in modules, given by name: `name:line: message`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in programs.items():
            (Path(folder) / f"{name}.py").write_text(text)
        (Path(folder) / "pyrightconfig.json").write_text(json.dumps(CONFIG))
        command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", folder]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        if not run.stdout.lstrip().startswith("{"):
            raise RuntimeError(run.stdout + run.stderr)
        report = json.loads(run.stdout)
    if report["summary"]["filesAnalyzed"] != len(programs):
        raise RuntimeError(f"{report['summary']['filesAnalyzed']} of {len(programs)} programs were checked")
    return [
        f"{Path(found['file']).stem}:{found['range']['start']['line'] + 1}: {found['message']}"
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    ]


def is_known(line: str) -> bool:
    """Whether an error is one of `KNOWN`."""
    return any(line.startswith(f"{page}:") and part in line for page, part in KNOWN)


def main() -> int:
    """Print what is wrong with the pages; 1 if anything is."""
    programs = {}
    for page in pages():
        text = program(page.read_text())
        if text:
            programs["_".join(page.relative_to(ROOT).with_suffix("").parts).replace("-", "_")] = text
    found = [line for line in errors(programs) if not is_known(line)]
    sys.stdout.writelines(f"{line}\n" for line in found)
    sys.stdout.write(f"{len(programs)} pages, {len(found)} errors that are not known\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
