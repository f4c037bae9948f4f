"""Freezes the guests that use volumes while a snapshot of these is made.

The operator's commands do it, if ``[quiesce]`` names them. A guest is frozen from just before the
request for the snapshot until Cinder shows it as available, at most until a deadline. A snapshot
that was not made in a frozen guest, or not as a whole, has a remark in the result of its volumes.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from volflow.cloud.volumes import project_of
from volflow.cloud.wait import Resource
from volflow.errors import HostError, StoppedError
from volflow.host.freeze import Freeze, Quiesce
from volflow.printable import bounded, printable, printable_lines
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

# The kind of the ledger's entry that says whether a guest was frozen until its snapshot was made.
_FREEZE = "freeze"
# Seconds between two looks at whether the run is asked to stop.
_LOOK = 0.2


class _Servers:
    """The servers that this process freezes now. Nobody freezes one twice, or thaws it too early:
    several volumes of one server can be backed up in parallel.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._frozen: set[str] = set()

    @contextmanager
    def alone(self, servers: Collection[str], stopping: threading.Event) -> Iterator[None]:
        """Wait until nobody else freezes one of the servers, and keep others waiting.

        :raises StoppedError: the run was asked to stop
        """
        with self._change:
            while not self._frozen.isdisjoint(servers):
                if stopping.is_set():
                    raise StoppedError("Stopped while waiting for the thaw of a server.")
                self._change.wait(_LOOK)
            self._frozen.update(servers)
        try:
            yield
        finally:
            with self._change:
                self._frozen.difference_update(servers)
                self._change.notify_all()


_servers = _Servers()


@contextmanager
def quiesced(work: Work, volumes: Sequence[Resource], group_id: str = "") -> Iterator[None]:
    """Keep the guests of volumes frozen while the block runs, if the configuration says so.

    :param work: of the volume or the group
    :param volumes: the volumes that are snapshotted in the block, as Cinder shows them
    :param group_id: the group that they are snapshotted as
    :raises HostError: the guests cannot be frozen, and must be
    :raises StoppedError: the run was asked to stop
    """
    quiesce, stopping = work.services.quiesce, work.services.stopping
    if quiesce is None or not volumes:
        yield
        return
    variables = _variables(work, volumes, group_id)
    with _servers.alone(_attached(volumes), stopping):
        work.record(_FREEZE, held=False)
        trouble, freeze = "", None
        try:
            freeze = Freeze(quiesce, variables, stopping)
        except HostError as error:
            trouble = str(error)
        thawed = None
        try:
            trouble = trouble or (freeze.begin() if freeze else "")
            if trouble and quiesce.required:
                raise HostError(
                    f"{printable_lines(bounded(trouble))}\nThe volume is not backed up, because "
                    "on_failure in [quiesce] is 'error'."
                )
            yield
        finally:
            if freeze:
                thawed = freeze.end()
                if thawed.trouble:
                    # Also if the volume fails: somebody must look after the guest.
                    _remark(work, volumes, thawed.trouble)
        said = [f"The guest was not quiesced for the snapshot: {trouble}"] if trouble else []
        if thawed and not thawed.in_time:
            said.append(_late(quiesce))
        if thawed and thawed.trouble:
            said.append(thawed.trouble)
        if said:
            _remark(work, volumes, " ".join(said))
        work.record(_FREEZE, held=True)


def doubt_earlier(work: Work, volumes: Sequence[Resource]) -> None:
    """Remark on a snapshot of an earlier attempt, if volflow ended while the guests were frozen."""
    entry = work.services.ledger.find(work.tag(_FREEZE))
    if entry is not None and not entry.details["held"]:
        _remark(
            work,
            volumes,
            "The run was stopped while the guest was frozen for the snapshot, and the guest was "
            "thawed then, maybe before the snapshot was made: it may not be consistent.",
        )


def _late(quiesce: Quiesce) -> str:
    return (
        f"The guest was thawed after {quiesce.limit:g} s, before Cinder showed its snapshot as "
        "available: the snapshot may not be consistent. Check how long snapshots take in this "
        "storage, and raise limit in [quiesce] if the guest may be frozen for longer."
    )


def _remark(work: Work, volumes: Sequence[Resource], text: str) -> None:
    for volume in volumes:
        Remark.QUIESCE.of(replace(work, volume_id=volume["id"]), printable_lines(bounded(text)))


def _attached(volumes: Sequence[Resource]) -> dict[str, None]:
    """The ids of the servers to which volumes are attached, each once and in order."""
    return dict.fromkeys(
        str(each["server_id"])
        for volume in volumes
        for each in volume.get("attachments") or ()
        if each.get("server_id")
    )


def _variables(work: Work, volumes: Sequence[Resource], group_id: str) -> dict[str, str]:
    """What the commands find in their environment. Tenants choose names, also of devices."""
    only = volumes[0] if not group_id else {}
    devices = [
        f"{each['server_id']}:{each.get('device') or ''}"
        for volume in volumes
        for each in volume.get("attachments") or ()
        if each.get("server_id")
    ]
    found = {
        "VOLFLOW_RUN": work.services.run_id,
        "VOLFLOW_PROJECT": project_of(volumes[0]) or str(work.cinder.project_id or ""),
        "VOLFLOW_VOLUME": str(only.get("id") or ""),
        "VOLFLOW_VOLUME_NAME": str(only.get("name") or ""),
        "VOLFLOW_VOLUMES": _listed(volume["id"] for volume in volumes),
        "VOLFLOW_GROUP": group_id,
        "VOLFLOW_SERVERS": _listed(_attached(volumes)),
        "VOLFLOW_DEVICES": _listed(devices),
    }
    return {name: printable(value) for name, value in found.items()}


def _listed(names: Iterable[str]) -> str:
    # What contains the separator is not what Cinder gives: a device that a tenant has named.
    return ",".join(str(name).replace(",", "?") for name in names)
