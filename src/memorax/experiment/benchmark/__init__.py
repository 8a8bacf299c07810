"""Benchmark suites: tables of tasks, methods and seeds, trained in an order that is useful early."""
