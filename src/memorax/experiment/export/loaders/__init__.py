"""Loaders of exported policies: files that are copied into their folders, and never imported here."""
