"""Optional libraries of the export formats."""

import importlib
from typing import Any


def require(library: str, extra: str) -> Any:
    """Import a library.

    Args:
        library: The module to import.
        extra: The extra of memorax that installs it.

    Raises:
        ImportError: It is not installed; the message says how to install it.
    """
    package = library.partition(".")[0]
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'this export format needs {package}, which is not installed; run `pip install "memorax[{extra}]"`'
        ) from error
