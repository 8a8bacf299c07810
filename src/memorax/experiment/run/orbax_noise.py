"""What orbax prints that means nothing."""

import functools
import sys
from typing import Any


@functools.cache
def silence_late_callbacks() -> None:
    """Keep quiet about one error that orbax causes after it has failed: its other tasks find the event loop closed.

    Python reports it by the hook, because nobody is left to catch it.
    """
    hook = sys.unraisablehook

    def quiet(unraisable: Any) -> None:
        if unraisable.object is not None or str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = quiet
