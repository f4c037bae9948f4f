"""Private names of libraries are overridden in two modules only, which check that they exist."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import persistence
import volflow

OURS = {"persistence", "volflow"}
LIBRARIES = packages_distributions().keys() - OURS
# Every class with an abstract base has this name.
SET_BY_PYTHON = {"_abc_impl"}


def classes() -> Iterator[type]:
    """All classes that the modules of volflow and persistence define, except inside functions."""
    for package in (persistence, volflow):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # Only Alembic can import its scripts.
            if not found.name.startswith("persistence.migrations."):
                module = importlib.import_module(found.name)
                yield from (
                    kind
                    for kind in vars(module).values()
                    if inspect.isclass(kind) and kind.__module__ == module.__name__
                )


def overridden(kind: type) -> set[str]:
    """The private names of library classes that a class or its methods set."""
    bases = [base for base in kind.__mro__ if base.__module__.partition(".")[0] in LIBRARIES]
    theirs = {name for base in bases for name in vars(base)}
    for base in bases:
        if code := getattr(vars(base).get("__init__"), "__code__", None):
            theirs.update(code.co_names)
    assigned = re.findall(r"\bself\.(\w+)(?:: .+?)? = ", inspect.getsource(kind)) if bases else []
    ours = {*vars(kind), *assigned} - SET_BY_PYTHON
    return {name for name in ours & theirs if re.match(r"_[^_]", name)}


def test_private_names_of_libraries_are_overridden_in_two_modules_only() -> None:
    found = {
        f"{kind.__module__}.{kind.__name__}": names
        for kind in classes()
        if (names := overridden(kind))
    }
    modules = {name.rpartition(".")[0] for name in found}
    assert modules == {"persistence.backend", "volflow.runs.engine"}, found
