"""Text that may hold anything, shown to a person."""


def printable(text: str) -> str:
    r"""Write what would not be shown as itself as it is written in a program: `\x1b` for a terminal's escape character.

    Args:
        text: Any text, such as a message with the name of a folder in it; lines and tabs stay.
    """
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )
