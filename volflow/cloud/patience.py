"""How long a request to Keystone or Cinder is repeated while the service has trouble."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from volflow.errors import StoppedError, UnavailableError

LOG = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# Seconds before the first repeat, and at most before each later one.
_FIRST, _LONGEST = 0.5, 15.0
# Seconds to repeat a call when all calls before it have used up the patience in vain.
_AGAIN = 5.0

_undoing: ContextVar[bool] = ContextVar("undoing", default=False)
_impatient: ContextVar[bool] = ContextVar("impatient", default=False)


@contextmanager
def undoing() -> Iterator[None]:
    """In this block a request to stop does not end the repeats, because it undoes something."""
    token = _undoing.set(True)
    try:
        yield
    finally:
        _undoing.reset(token)


@contextmanager
def impatient() -> Iterator[None]:
    """In this block nothing is repeated: trouble is reported at once."""
    token = _impatient.set(True)
    try:
        yield
    finally:
        _impatient.reset(token)


def is_undoing() -> bool:
    """Whether this thread undoes something."""
    return _undoing.get()


class Patience:
    """Repeats what fails because the service has trouble, for a limited time.

    One object serves all threads. A repeat within another one shares its time, and so do calls
    that fail one after the other without a success between them: the time is for one outage.

    :param seconds: how long to repeat, from the first failure on; 0 means never
    :param pause: seconds before the first repeat
    """

    def __init__(self, seconds: float = 300.0, pause: float = _FIRST) -> None:
        self.seconds, self._pause = seconds, pause
        self._here = threading.local()
        self._lock = threading.Lock()
        self._waiting = 0
        # When an outage began and when a call failed in it last.
        self._outage: tuple[float, float] | None = None

    def repeat(
        self,
        attempt: Callable[[], Answer],
        *,
        found: Callable[[], Answer | None] | None = None,
        stopping: threading.Event | None = None,
    ) -> Answer:
        """Return what ``attempt`` returns, and repeat it while it raises UnavailableError.

        :param attempt: sends one request
        :param found: looks for the result of an earlier attempt whose answer was lost. It is
            called before each repeat, so that nothing is made twice
        :param stopping: set to end the repeats
        :raises UnavailableError: the trouble has lasted too long
        :raises StoppedError: ``stopping`` was set in the meantime
        """
        try:
            return self._tried(attempt)
        except UnavailableError as error:
            if error.tried or not self.seconds or _impatient.get():
                raise
            trouble = error
        began = time.monotonic()
        outer: float | None = getattr(self._here, "deadline", None)
        deadline = self._deadline(began) if outer is None else outer
        self._here.deadline = deadline
        pause = self._pause
        self._announce(trouble)
        try:
            while not trouble.tried and (left := deadline - time.monotonic()) > 0:
                seconds = max(pause * random.uniform(0.8, 1.2), trouble.retry_after)
                _rest(min(seconds, left), stopping, trouble)
                pause = min(pause * 2, _LONGEST)
                try:
                    earlier = found() if found else None
                    return self._tried(attempt) if earlier is None else earlier
                except UnavailableError as error:
                    trouble = error
        finally:
            self._here.deadline = outer
            with self._lock:
                self._waiting -= 1
        if trouble.tried:
            raise trouble
        raise _ended(trouble, time.monotonic() - began)

    def _tried(self, attempt: Callable[[], Answer]) -> Answer:
        """Try once. Every answer, also a refusal, ends an outage."""
        try:
            answer = attempt()
        except UnavailableError:
            with self._lock:
                now = time.monotonic()
                began, last = self._outage or (now, now)
                if now - last > self.seconds:
                    began = now  # nobody has asked since: it may be another outage
                self._outage = began, now
            raise
        except Exception:
            self._outage = None
            raise
        self._outage = None
        return answer

    def _deadline(self, now: float) -> float:
        """When to give up a call that has just failed for the first time."""
        began, _ = self._outage or (now, now)
        return max(began + self.seconds, now + min(_AGAIN, self.seconds))

    def _announce(self, trouble: UnavailableError) -> None:
        """Warn once, however many threads have the same trouble."""
        with self._lock:
            self._waiting += 1
            first = self._waiting == 1
        LOG.log(
            logging.WARNING if first else logging.INFO,
            "%s volflow repeats this for up to %.0f s.",
            _sentence(trouble),
            self.seconds,
        )


def _ended(trouble: UnavailableError, seconds: float) -> UnavailableError:
    ended = UnavailableError(
        f"{_sentence(trouble)} volflow has repeated this for {seconds:.0f} s; [cloud] patience "
        "sets how long.",
        status=trouble.status,
    )
    ended.tried = True
    return ended


def _rest(seconds: float, stopping: threading.Event | None, trouble: UnavailableError) -> None:
    if stopping is None:
        time.sleep(seconds)
    elif stopping.wait(seconds):
        raise StoppedError(f"Stopped while waiting for the cloud: {trouble}")


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith((".", "!", "?")) else f"{text}."
