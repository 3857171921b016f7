"""The ``virtues`` command: parse, call, print."""
