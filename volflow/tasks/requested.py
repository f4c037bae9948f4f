"""The base class of the steps that make something by a request to Cinder."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cloud.ownership import UNANSWERED
from volflow.tasks.as_left import note
from volflow.tasks.base import Temporary


class Requested(Temporary):
    """Makes sure that a resource in Cinder exists. The answer to the request for it can be lost.

    Then the request is sent again. Cinder can carry out both, the first one as the later one: so
    the ledger keeps that a request has no answer, and what Cinder makes later is removed too. The
    same holds for a request of a process that was killed.
    """

    def intend(self, **details: Any) -> Entry:
        known = self.services.ledger.find(self.tag)
        if known is not None and (known.resource_id is None or known.details.get(UNANSWERED)):
            details[UNANSWERED] = True
        return super().intend(**details)

    def present(self, resource_id: str, **details: Any) -> None:
        known = self.services.ledger.find(self.tag) if details else None
        if known is not None and known.details.get(UNANSWERED):
            details[UNANSWERED] = True
        super().present(resource_id, **details)

    def unanswered(self) -> None:
        """Record in the ledger that Cinder did not answer a request, and may still carry it out."""
        note(self.work, self.tag, **{UNANSWERED: True})
