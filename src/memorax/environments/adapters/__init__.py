"""Environments of other libraries as ours; a file a library, imported only when used."""
