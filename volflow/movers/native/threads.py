"""Some threads that do one thing together; the first error ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")


class Team:
    """Threads.

    :param number: of threads
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []

    def run(self, work: Callable[[Callable[[Iterator[_Item]], _Item | None]], None]) -> None:
        """Let each thread work, and wait for all.

        :param work: gets a function that takes the next item of an iterator that all share; None
            at its end, and once another thread has failed
        :raises BaseException: the first error of a thread
        """
        threads = [
            threading.Thread(target=self._work, args=(work,), daemon=True)
            for _ in range(self._number)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            # After an interrupt: nobody writes any more when the lock is removed.
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self._errors:
            raise self._errors[0]

    def _next(self, items: Iterator[_Item]) -> _Item | None:
        with self._guard:
            return None if self._stop.is_set() else next(items, None)

    def _work(self, work: Callable[[Callable[[Iterator[_Item]], _Item | None]], None]) -> None:
        try:
            work(self._next)
        except BaseException as error:  # noqa: BLE001  run() raises it
            self._errors.append(error)
            self._stop.set()
