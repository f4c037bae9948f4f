"""The cases of outages: from one call on, every call fails, for good or for a while.

Every mood at every place would be thousands of cases. Instead the moods rotate over the places:

* Lasting: every place that makes a call, and every mood with every verb of every flow.
* Passing: every call of every flow, and every mood with every verb.
* Both, while the flow is being undone: every call.

The repository's server fails at the moments of :data:`tests.fault_matrix.storage.MOMENTS`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.fault_matrix.case import (
    COPY,
    GROUP,
    IN_PLACE,
    INSTEAD,
    LOGIN,
    REPOSITORY,
    Case,
    own_steps,
)
from tests.fault_matrix.storage import MOMENTS
from tests.support.fault_kinds import CallSite
from tests.support.outages import CLASSES, Mood, Outage

# The classes in turn, so that neighbours in the rotation differ in more than their words.
MOODS = tuple(
    mood for group in itertools.zip_longest(*CLASSES) for mood in group if mood is not None
)


# restic resolves names in its own way.
_OF_SERVERS = tuple(mood for mood in MOODS if mood is not Mood.UNKNOWN_HOST)


def of_outages(flow: str, sites: Iterable[CallSite], *, undoing: bool) -> list[Case]:
    """The outages that begin with the calls of a flow.

    :param sites: the places that were seen to make calls in the flow, in order
    """
    if flow == COPY and undoing:
        return []  # as in the other restores
    found = [
        site
        for site in sites
        if flow != COPY or (site.step in own_steps(COPY) and not site.call.startswith("GET"))
    ]
    by_verb: dict[str, list[CallSite]] = defaultdict(list)
    for site in found:
        by_verb[verb(site.call)].append(site)
    # Another flow begins elsewhere in the rotation.
    turn = sum(map(ord, flow))
    return [
        case
        for places in by_verb.values()
        for case in (
            *_lasting(flow, places, turn, undoing=undoing),
            *_passing(flow, places, turn, undoing=undoing),
        )
    ]


def verb(call: str) -> str:
    """What a call does: its method, or that it is an action."""
    return "action" if "/action " in call else call.split()[0]


def _lasting(flow: str, places: list[CallSite], turn: int, *, undoing: bool) -> Iterator[Case]:
    one_each = undoing or flow == COPY
    places = _first(places) if undoing else places
    for n in range(len(places) if one_each else max(len(places), len(MOODS))):
        # Each round begins one place further, so that no place meets only one class.
        site = places[(n + n // len(places)) % len(places)]
        mood = MOODS[(n + turn) % len(MOODS)]
        yield Case(flow, site.call, Outage(mood, lasting=True), undoing, site)


def _passing(flow: str, places: list[CallSite], turn: int, *, undoing: bool) -> Iterator[Case]:
    for n, site in enumerate(_first(places)):
        mood = MOODS[(2 * n + turn + 5) % len(MOODS)]
        yield Case(flow, site.call, Outage(mood, lasting=False), undoing, site)


def _first(places: list[CallSite]) -> list[CallSite]:
    """The first place of each call."""
    return list({site.call: site for site in reversed(places)}.values())[::-1]


def of_other_flows() -> list[Case]:
    """The outages at the calls that only the flows with their own volumes make."""
    calls = (
        (INSTEAD, "DELETE /volumes/{id}"),
        (GROUP, "POST /group_snapshots"),
        (GROUP, "DELETE /group_snapshots/{id}"),
    )
    moods = ((Mood.REFUSED, True), (Mood.CUT, True), (Mood.TOO_MANY, False), (Mood.SILENT, False))
    return [
        Case(flow, call, Outage(mood, lasting)) for flow, call in calls for mood, lasting in moods
    ]


def of_repository() -> list[Case]:
    """The outages of the repository's server: each class at each moment of each flow."""
    found = []
    turns = {moods: itertools.cycle([m for m in moods if m in _OF_SERVERS]) for moods in CLASSES}
    for flow in ("backup", "restore to new", IN_PLACE):
        for moment, (_, methods, _) in MOMENTS.items():
            if not methods[flow == "backup"]:
                continue
            for moods, lasting in itertools.product(CLASSES, (True, False)):
                outage = Outage(next(turns[moods]), lasting)
                found.append(Case(flow, f"{REPOSITORY}, {moment}", outage))
    return found


def of_continued() -> list[Case]:
    """The outages while a killed run is resumed or aborted."""
    calls = (
        "GET /",
        "GET /volumes/{id}",
        "DELETE /attachments/{id}",
        "DELETE /volumes/{id}",
        "DELETE /snapshots/{id}",
    )
    moods = itertools.cycle(MOODS)
    revert = "POST /volumes/{id}/action revert"
    return [
        Case("backup", call, Outage(next(moods), lasting), then=then)
        for then in ("resume", "abort")
        for call in calls
        for lasting in (True, False)
    ] + [
        Case(IN_PLACE, revert, Outage(next(moods), lasting), then="abort")
        for lasting in (True, False, True, False)
    ]


def of_logins() -> list[Case]:
    """The outages of Keystone: at the login, and when volflow needs a new token."""
    places = ("login", "GET /limits", "POST /volumes", "DELETE /attachments/{id}")
    moods = itertools.cycle(MOODS)
    return [
        Case(LOGIN, place, Outage(next(moods), lasting))
        for place in places
        for lasting in (True, False)
        for _ in CLASSES
    ]


def few_outages() -> list[Case]:
    """Each mood once lasting and once passing, at calls of all verbs and flows."""
    places = itertools.cycle(
        [
            ("backup", "POST /snapshots"),
            (IN_PLACE, "GET /volumes/{id}"),
            ("restore to new", "POST /volumes"),
            (IN_PLACE, "PUT /volumes/{id}/metadata"),
            ("backup", "DELETE /attachments/{id}"),
            ("restore to new", "POST /attachments/{id}/action os-complete"),
            ("backup", "GET /snapshots/{id}"),
        ]
    )
    return [
        Case(*place, Outage(mood, lasting))
        for mood, lasting in itertools.product(MOODS, (True, False))
        for place in [next(places)]
    ] + [
        Case("backup", f"{REPOSITORY}, copy", Outage(Mood.RESET, lasting=False)),
        Case("backup", f"{REPOSITORY}, verdict", Outage(Mood.UNAVAILABLE, lasting=True)),
        Case(IN_PLACE, f"{REPOSITORY}, copy", Outage(Mood.SILENT, lasting=True)),
        Case(IN_PLACE, f"{REPOSITORY}, list", Outage(Mood.UNTRUSTED, lasting=True)),
    ]
