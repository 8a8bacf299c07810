"""Libraries of optional extras, imported when they are used."""

import importlib
from typing import Any


def require(library: str, extra: str, what: str) -> Any:
    """Import a library.

    Args:
        library: Its module.
        extra: The extra of memorax that installs it.
        what: What needs it, for the message.

    Raises:
        ImportError: It is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{what} needs {error.name or library}, which is not installed; run `pip install "memorax[{extra}]"`'
        ) from error
