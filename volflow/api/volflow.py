"""volflow as a whole: what the command line, Freezer, Mistral and other programs call."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from volflow.api.backups import BackupApi
from volflow.api.leftovers import LeftoverApi
from volflow.api.restores import RestoreApi
from volflow.api.runs import RunApi
from volflow.context import Context
from volflow.stop import Stop


class Volflow:
    """Backs up and restores volumes of one cloud into and from its repositories.

    Nothing is connected to before it is needed. Use it as a context manager, or close it.

    :ivar context: the cloud, the repositories, the state database and this host
    :ivar backups: makes backups
    :ivar restores: restores them
    :ivar runs: resumes and aborts runs
    :ivar leftovers: lists and removes what runs could not remove
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.backups = BackupApi(context)
        self.restores = RestoreApi(context)
        self.runs = RunApi(context)
        self.leftovers = LeftoverApi(context)

    @property
    def stop(self) -> Stop:
        """Suspends or aborts what runs, from any thread."""
        return self.context.stop

    def close(self) -> None:
        """Close what has been opened."""
        self.context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
