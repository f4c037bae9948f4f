"""The logbook of a run: TaskFlow's record of its flows in the state database."""

from __future__ import annotations

from collections.abc import Iterable

from oslo_utils import uuidutils
from taskflow.persistence import models

from persistence import ItemFields, Run, State
from volflow.flows.graph import Component


class Logbook:
    """The stored flows of a run."""

    def __init__(self, state: State) -> None:
        self._state = state
        # New flows by id, until they begin: they need not be read from the database.
        self._new: dict[str, models.FlowDetail] = {}

    def write(self, run: Run, components: Iterable[Component]) -> None:
        """Store a flow for each component of a run that has none yet."""
        book = models.LogBook(f"run {run.id}", uuidutils.generate_uuid())
        flows: dict[str, ItemFields] = {}
        for component in components:
            detail = models.FlowDetail(component.volumes[0], uuidutils.generate_uuid())
            # TaskFlow stores neither the order of atoms nor atoms that have not begun.
            detail.meta = component.outline()
            component.forget_flow()
            book.add(detail)
            self._new[detail.uuid] = detail
            flows |= {volume_id: {"flow_id": detail.uuid} for volume_id in component.volumes}
        self._state.runs.update_items(run.id, flows)
        # All at once: adding flows one by one reads the whole book each time.
        self._state.taskflow.get_connection().save_logbook(book)
        self._state.runs.update(run.id, logbook_id=book.uuid)

    def flow(self, flow_id: str | None) -> models.FlowDetail:
        """The stored state of a flow."""
        new = self._new.pop(flow_id or "", None)
        if new is not None:
            return new
        return self._state.taskflow.get_connection().get_flow_details(flow_id)
