"""The contract holds on both kinds of database."""

from tests.unit.center.conftest import database, pytest_generate_tests

__all__ = ["database", "pytest_generate_tests"]
