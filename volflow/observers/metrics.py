"""Metrics of the backups, in a text file for Prometheus' node exporter."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from oslo_config import cfg
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from persistence import Backup, Item, ItemState, Run, Runs, State, StateError
from volflow.observers.progress import NullObserver
from volflow.printable import printable
from volflow.results import stored
from volflow.results.outcome import RunResult, VolumeResult, full_read_of
from volflow.results.request import request_of

LOG = logging.getLogger(__name__)

_LEFT_OUT = ItemState.LEFT_OUT.lower()
_OUTCOMES = [state.lower() for state in ItemState if state.final]
# Number of runs to read at once. The request of a run is large: it lists all volumes.
_PAGE = 20
# Clocks of hosts differ by less than this.
_CLOCKS_DIFFER = timedelta(minutes=5)
_LABELS = ("volume_id", "volume_name", "project_id")

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "textfile",
        regex=r"\.prom$",
        sample_default="/var/lib/prometheus/node-exporter/volflow.prom",
        help="File for the textfile collector of Prometheus' node exporter, written at the end of "
        "each run. Its name must end in .prom.",
    ),
    cfg.FloatOpt(
        "out_of_date_after",
        default=26.0,
        min=0,
        help="Hours after which the last backup of a volume is out of date.",
    ),
    cfg.FloatOpt(
        "forget_after",
        default=720.0,
        min=0,
        help="Hours after which volumes that no run covers any more are removed from the file. By "
        "then they have been reported as out of date.",
    ),
]


class Metrics(NullObserver):
    """Writes the file at the end of each run, from all that the state database knows.

    :param conf: the options of ``[metrics]``
    """

    def __init__(self, conf: Any, state: State) -> None:
        self._conf = conf
        self._state = state

    def over(self, run_id: str, result: RunResult | None) -> None:
        try:
            # It writes a temporary file and renames it, so that nobody reads half a file.
            write_to_textfile(self._conf.textfile, registry(self._conf, self._state))
        except (OSError, StateError) as error:
            LOG.warning("The metrics could not be written to %s: %s", self._conf.textfile, error)


def registry(conf: Any, state: State, now: datetime | None = None) -> CollectorRegistry:
    """The metrics of all volumes that runs have backed up, or tried to.

    :param conf: the options of ``[metrics]``
    :param now: the time to compare with; the present by default
    """
    now = now or datetime.now(UTC)
    found = CollectorRegistry()
    limit = timedelta(hours=conf.out_of_date_after)
    gauge = Gauge(
        "volflow_out_of_date_after_seconds",
        "Age at which the last backup of a volume is out of date.",
        registry=found,
    )
    gauge.set(limit.total_seconds())
    leftovers = Counter(entry.item for entry in state.ledger.leftovers())
    gauge = Gauge(
        "volflow_leftovers", "Temporary resources that could not be removed.", registry=found
    )
    gauge.set(leftovers.total())

    volumes = _Volumes(found)
    projects = _Projects(state)
    backups = {backup.volume_id: backup for backup in state.catalogue.last_of_each()}
    items = {item.key: item for item in state.runs.last_items("backup")}
    since = now - timedelta(hours=conf.forget_after)
    left_out = _left_out(state.runs, since)
    for volume_id in sorted({*backups, *items, *left_out}):
        backup, item = backups.get(volume_id), items.get(volume_id)
        left, left_name = left_out.get(volume_id, (None, ""))
        if backup is None and item and item.state is ItemState.LEFT_OUT:
            continue  # it was deleted before its first backup
        times = [backup and backup.created_at, item and item.finished_at, left]
        if max(time for time in times if time) < since:
            continue
        # One of the future comes from a wrong clock: it must not silence the alarm for ever.
        out_of_date = backup is None or not -_CLOCKS_DIFFER < now - backup.created_at <= limit
        project_id = backup.project_id if backup else projects.of(item) if item else ""
        name = item.name if item else backup.volume_name if backup else left_name
        labels = (volume_id, printable(name), project_id)
        volumes.tell(labels, backup, out_of_date, leftovers[volume_id])
        if left and not (item and item.finished_at and item.finished_at > left):
            volumes.tell_end(labels, left, _LEFT_OUT)
        elif item and item.finished_at:
            volumes.tell_end(labels, item.finished_at, item.state.lower())
            volumes.tell_attempt(labels, stored.volume_result(item))
    return found


def _left_out(runs: Runs, since: datetime) -> dict[str, tuple[datetime, str]]:
    """By volume id: when a run last left out a volume that it should have covered, and its name."""
    found: dict[str, tuple[datetime, str]] = {}
    for run in _recent(runs, since):
        for one in stored.left_out(run):
            if one.wanted:
                found.setdefault(one.volume_id, (run.created_at, one.name))
    return found


def _recent(runs: Runs, since: datetime) -> Iterator[Run]:
    """The backup runs that began after a moment, the newest first."""
    marker = None
    while page := runs.list(kind="backup", limit=_PAGE, marker=marker):
        for run in page:
            if run.created_at < since:
                return
            yield run
        marker = page[-1].id


class _Projects:
    """The projects of volumes without a backup, from the runs that tried to back them up."""

    def __init__(self, state: State) -> None:
        self._runs = state.runs
        self._known: dict[str, Mapping[str, str | None]] = {}

    def of(self, item: Item) -> str:
        if item.run_id not in self._known:
            self._known[item.run_id] = request_of(self._runs.get(item.run_id)).projects
        return self._known[item.run_id].get(item.key) or ""


class _Volumes:
    """The metrics that each volume has."""

    def __init__(self, found: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"volflow_{name}", text, (*_LABELS, *labels), registry=found)

        self._success = gauge(
            "backup_last_success_timestamp_seconds",
            "When the last backup was stored, complete or partial; 0 if there is none.",
        )
        self._full_read = gauge(
            "backup_last_full_read_timestamp_seconds",
            "Time of the data that a backup last read completely.",
        )
        self._ended = gauge(
            "backup_last_end_timestamp_seconds", "When the last attempt at a backup ended."
        )
        self._outcome = gauge(
            "backup_last_outcome",
            "Outcome of the last attempt: 1 for the label with that outcome.",
            "outcome",
        )
        self._duration = gauge("backup_last_duration_seconds", "How long the last attempt took.")
        self._out_of_date = gauge(
            "backup_out_of_date", "1 if the last backup was out of date when this was written."
        )
        self._leftovers = gauge(
            "volume_leftovers", "Temporary resources of this volume that could not be removed."
        )
        self._size = gauge("backup_size_bytes", "Size of all files in the last backup.")
        self._bytes_read = gauge(
            "backup_read_bytes", "Bytes read from the volume for the last backup."
        )
        self._stored = gauge(
            "backup_stored_bytes",
            "Growth of the repository by the backup, before compression.",
        )
        self._files = gauge("backup_files", "Files in the last backup.")
        self._read = gauge("backup_read_files", "New and changed files, which were read.")
        self._unread = gauge("backup_unread_files", "Files that could not be read.")

    def tell(
        self,
        labels: tuple[str, str, str],
        backup: Backup | None,
        out_of_date: bool,
        leftovers: int,
    ) -> None:
        self._success.labels(*labels).set(backup.created_at.timestamp() if backup else 0)
        self._out_of_date.labels(*labels).set(out_of_date)
        self._leftovers.labels(*labels).set(leftovers)
        if backup:
            figures = Counter({key: int(value) for key, value in backup.figures.items()})
            full_read = full_read_of(backup.figures)
            if full_read is not None:
                self._full_read.labels(*labels).set(full_read)
            read = figures["files_new"] + figures["files_changed"]
            self._size.labels(*labels).set(figures["bytes_total"])
            self._bytes_read.labels(*labels).set(figures["bytes_read"])
            self._stored.labels(*labels).set(figures["bytes_stored"])
            self._files.labels(*labels).set(read + figures["files_unmodified"])
            self._read.labels(*labels).set(read)

    def tell_end(self, labels: tuple[str, str, str], moment: datetime, outcome: str) -> None:
        """Set when and how the last attempt ended."""
        self._ended.labels(*labels).set(moment.timestamp())
        for one in _OUTCOMES:
            self._outcome.labels(*labels, one).set(one == outcome)

    def tell_attempt(self, labels: tuple[str, str, str], result: VolumeResult) -> None:
        """Set the duration of the last attempt, and the number of unread files."""
        self._duration.labels(*labels).set(result.seconds)
        self._unread.labels(*labels).set(len(result.unread))
