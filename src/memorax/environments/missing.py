"""What is said when the library of an environment suite is not installed."""


class MissingExtraError(ImportError):
    """An environment suite is asked for whose library is not installed."""

    def __init__(self, suite: str) -> None:
        """Word the message.

        Args:
            suite: Name of the suite, which is also the name of the extra.
        """
        super().__init__(f"environment suite `{suite}` is not installed; run `pip install memorax[{suite}]`")
        self.suite = suite
