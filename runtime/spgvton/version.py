"""The version of this distribution; pyproject.toml and CMakeLists.txt read it here."""

__version__ = "0.2.0"
