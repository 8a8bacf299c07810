"""What was tried, and what became of it."""

import dataclasses
from typing import Any

SURVIVED, REFUSED, LOST = "survived", "refused", "lost"
"""As if nothing had happened, bit for bit; turned down by a message that names the cause; anything else."""


@dataclasses.dataclass
class Tally:
    """Counts of one kind of trial.

    Attributes:
        what: What was tried, in words.
        lost: What was neither survived nor refused clearly; each says how to try it again.
    """

    what: str
    survived: int = 0
    refused: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)

    def add(self, outcome: str, finding: str = "") -> None:
        """Count a trial."""
        if outcome == SURVIVED:
            self.survived += 1
        elif outcome == REFUSED:
            self.refused += 1
        else:
            self.lost.append(finding)

    def counts(self) -> dict[str, Any]:
        """For the file of results."""
        tried = self.survived + self.refused + len(self.lost)
        numbers = {"tried": tried, "survived": self.survived, "refused": self.refused, "lost": len(self.lost)}
        return {"what": self.what, **numbers, "findings": self.lost[:20]}
