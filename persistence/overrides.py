"""Checks that overridden private names of a library still exist.

If a library renames a private method, a method that overrides it has no effect any more. So this is
checked when the class is made, which is when the program imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import TypeVar

T = TypeVar("T")


class IncompatibleLibrary(ImportError):
    """A library no longer has a name that this program overrides."""


def overrides(
    library: str, *, own: Collection[str] = (), sets: Collection[str] = ()
) -> Callable[[type[T]], type[T]]:
    """Decorate a class in which all methods and attributes override those of its base classes.

    Names with two underscores at both ends do not count. An attribute that only the ``__init__`` of
    a base class sets counts as an attribute of the base class.

    :param library: the distribution of the base classes
    :param own: the names that override nothing
    :param sets: attributes of the base class that the class replaces in its own ``__init__``
    :raises IncompatibleLibrary: a name no longer overrides anything
    """

    def check(kind: type[T]) -> type[T]:
        bases = kind.__mro__[1:]
        known = {name for base in bases for name in vars(base)}
        for base in bases:
            if code := getattr(vars(base).get("__init__"), "__code__", None):
                known.update(code.co_names)
        ours = {name for name in vars(kind) if not name.startswith("__")} | set(sets)
        missing = sorted(ours - known - set(own))
        if missing:
            raise IncompatibleLibrary(
                f"{library} {version(library)} has no {', '.join(missing)} in "
                f"{kind.__base__.__name__ if kind.__base__ else '?'}, which "
                f"{kind.__module__}.{kind.__qualname__} overrides. Install a release of {library} "
                "that this program supports: 'pip check' names it."
            )
        return kind

    return check
