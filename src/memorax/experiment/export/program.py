"""What a format makes of a policy."""

from typing import Any, NamedTuple


class Program(NamedTuple):
    """The file of an export.

    Attributes:
        file: Its name.
        data: Its content.
        details: What the card says of it beside its hash, which JSON can hold.
        versions: Versions of the libraries that wrote it.
    """

    file: str
    data: bytes
    details: dict[str, Any]
    versions: dict[str, str]
