"""What `memorax list environments` says."""

from rich.console import Console

from memorax.cli import catalog
from memorax.environments import registered


def test_every_environment_is_listed_with_what_is_known():
    console = Console(width=140, record=True)
    console.print(catalog.environments())
    lines = console.export_text().splitlines()
    table = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    rows = {row[0]: row[1:] for row in table if row and row[0]}
    assert {card.id for card in registered()} == rows.keys()
    assert rows["memory::RepeatPreviousMedium"][1:] == ["Box(4,)", "Discrete(4)", "31", "103", "1", "-0.495"]
    assert rows["memory::LabyrinthEscapeEasy"][1:] == ["Box(50,)", "Discrete(4)", "-", "1023", "-", "-"]
    # Difficulties as they grow, and said once what they are about.
    graded = [name for name in rows if name.startswith("memory::RepeatFirst")]
    assert graded == [f"memory::RepeatFirst{level}" for level in ("Easy", "Medium", "Hard")]
    assert [bool(rows[name][0]) for name in graded] == [True, False, False]
    legend = " ".join(lines[-6:])
    for column in ("remember:", "steps:", "best:", "memoryless:", "-:"):
        assert column in legend
