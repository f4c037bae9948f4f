"""Overriding a library method that no longer exists is an error."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from persistence.overrides import IncompatibleLibrary, overrides


class Library:
    """Placeholder for a class of a library."""

    def __init__(self) -> None:
        self._state = "new"

    def _save(self) -> str:
        return "library"


def test_a_class_that_overrides_what_exists_is_left_as_it_is() -> None:
    @overrides("taskflow", own=("more",))
    class Ours(Library):
        _state = "other"
        more = 1

        def _save(self) -> str:
            return "ours"

    assert Ours()._save() == "ours"


def test_a_name_that_the_library_no_longer_has_is_an_error() -> None:
    expected = rf"^taskflow {version('taskflow')} has no _store in Library, which .*Ours overrides"
    with pytest.raises(IncompatibleLibrary, match=expected):

        @overrides("taskflow")
        class Ours(Library):
            def _save(self) -> str:
                return "ours"

            def _store(self) -> str:
                return "ours"


def test_an_attribute_that_is_set_and_that_the_library_no_longer_has_is_an_error() -> None:
    with pytest.raises(ImportError, match="has no _states in Library"):

        @overrides("taskflow", sets=("_state", "_states"))
        class Ours(Library):
            def __init__(self) -> None:
                self._states = "other"


def test_an_attribute_that_the_library_no_longer_sets_is_an_error() -> None:
    with pytest.raises(ImportError, match="has no _states in Library"):

        @overrides("taskflow")
        class Ours(Library):
            _states = "other"
