"""Outages: moods of a cloud or of a repository's server, in which every request fails for a while.

A restart, a broken network or an overloaded load balancer hits every request, not only one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# The failed requests after which an outage ends that ends within the patience of volflow: volflow
# has repeated its request at least once.
REPEATED = 3


class Mood(StrEnum):
    """How requests fail."""

    REFUSED = "connection refused"
    RESET = "connection reset"
    SILENT = "never answered"
    BROKEN_OFF = "answer breaks off"
    UNKNOWN_HOST = "DNS failure"
    UNTRUSTED = "TLS failure"
    UNAVAILABLE = "HTTP 503"
    HTML = "HTML with 200"
    CUT = "cut JSON"
    TOO_MANY = "HTTP 429 with Retry-After"
    TOO_LARGE = "HTTP 413 with Retry-After"


CONNECTION = (
    Mood.REFUSED,
    Mood.RESET,
    Mood.SILENT,
    Mood.UNKNOWN_HOST,
    Mood.UNTRUSTED,
    Mood.BROKEN_OFF,
)
ANSWER = (Mood.HTML, Mood.CUT, Mood.UNAVAILABLE)
LIMIT = (Mood.TOO_MANY, Mood.TOO_LARGE)
# The moods of one class fail in the same place of the client libraries.
CLASSES = (CONNECTION, ANSWER, LIMIT)

RETRY_AFTER = 1
_PAGE = b"<!DOCTYPE html><html><body><h1>Maintenance</h1></body></html>"


@dataclass(frozen=True)
class Outage:
    """A mood that begins with one request.

    :ivar lasting: it lasts longer than volflow waits; else it ends after :data:`REPEATED` requests
    """

    mood: Mood
    lasting: bool

    def __str__(self) -> str:
        return f"{self.mood}, {'lasting' if self.lasting else 'passing'}"

    @property
    def name(self) -> str:
        return str(self)


def answer(mood: Mood) -> tuple[int, list[tuple[str, str]], bytes]:
    """The status, headers and body with which a server answers each request in this mood."""
    if mood is Mood.HTML:
        return 200, [("Content-Type", "text/html")], _PAGE
    status = {Mood.UNAVAILABLE: 503, Mood.TOO_MANY: 429, Mood.TOO_LARGE: 413}[mood]
    headers = [("Content-Type", "text/html")]
    if mood in LIMIT:
        headers.append(("Retry-After", str(RETRY_AFTER)))
    return status, headers, _PAGE
