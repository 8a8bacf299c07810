"""The error where the library of an environment is not installed."""


class MissingExtraError(ImportError):
    """The library of an environment is not installed."""

    def __init__(self, suite: str, extra: str | None = None) -> None:
        """Create the error.

        Args:
            suite: Namespace of the library.
            extra: What to install, as `pip install` takes it; by default the extra of memorax with that name.
        """
        extra = extra or f"memorax[{suite.replace('_', '-')}]"  # older versions of pip find no underscores
        wanted = f'"{extra}"' if "[" in extra else extra  # shells read brackets
        super().__init__(f"environment suite `{suite}` is not installed; run `pip install {wanted}`")
        self.suite = suite
