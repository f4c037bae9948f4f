"""Cinder's API, scheduler and volume services in one process: ``python -m lab.server DIR FD``.

FD is the listening socket. The parent makes it, so the port is known and reserved from the start.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from lab import database, process, settings, wsgi

SHUTDOWN_SECONDS = 4.0

#: Backups in parallel: the posix driver reads 2 GB into memory for each by default.
BACKUPS = 3

LOG = logging.getLogger("lab.server")


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    directory = settings.Directory(Path(arguments[0]))
    listener = socket.socket(fileno=int(arguments[1]))
    process.Process.of(os.getpid()).write(directory.pid_file("cinder"))
    _run_inside_this_process()
    application = _application(directory)
    kept = database.keep_open(directory.database("cinder"))
    services = _services(backup=bool(settings.Record.read(directory).backup))
    server = wsgi.serve(application, listener)
    ended = threading.Event()
    # Until here a signal ends the process at once: there was nothing to close.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    LOG.info("the lab is up")
    ended.wait()

    # Do not wait for idle threads: what does not end in time ends with the process.
    closing = threading.Thread(target=_close, args=(server, services), daemon=True)
    closing.start()
    closing.join(SHUTDOWN_SECONDS)
    kept.close()
    logging.shutdown()
    os._exit(0)


def _run_inside_this_process() -> None:
    """Native threads instead of eventlet, and no helper process for privileged work.

    The helper would need sudo, which may not be installed; and we are root already.
    """
    os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "1"
    from cinder import monkey_patch

    monkey_patch.patch("threading")
    import os_brick.privileged
    from cinder.privsep import sys_admin_pctxt

    for privileged in (
        os_brick.privileged.default,
        os_brick.privileged.brick_privsep_hide_output,
        sys_admin_pctxt,
    ):
        privileged.set_client_mode(False)


def _application(directory: settings.Directory) -> Any:
    """Read the configuration, prepare the database, and build the WSGI application."""
    # Cinder's own entry point reads the command line.
    sys.argv = ["cinder-api", *directory.options("cinder")]
    database.take_write_locks_at_begin()

    from cinder.db import api as db
    from cinder.db import migration
    from cinder.wsgi import wsgi as entry
    from oslo_config import cfg

    cfg.CONF(sys.argv[1:], project="cinder", version="lab")
    db.configure(cfg.CONF)
    hit = database.prepare("cinder", directory.database("cinder"), migration.db_sync)
    application = entry.initialize_application()
    LOG.info("the database %s", "came from the cache" if hit else "was made anew")
    return application


def _services(*, backup: bool) -> list[Any]:
    """Start the volume services, then the scheduler, which would otherwise wait for them."""
    import os_brick
    from cinder import service
    from cinder.common import constants
    from oslo_config import cfg

    os_brick.setup(cfg.CONF)
    reporting = threading.Lock()

    class Service(service.Service):
        """A service that knows its own id although others share its process.

        Cinder keeps the id in an attribute of the class, as it expects one service per process.
        The last service would report for all, and the others would look dead.
        """

        def report_state(self) -> None:
            with reporting:
                service.Service.service_id = self.origin_service_id
                super().report_state()

    started = []
    for backend in settings.BACKENDS:
        started.append(
            Service.create(
                host=f"{cfg.CONF.host}@{backend}",
                service_name=backend,
                binary=constants.VOLUME_BINARY,
                coordination=True,
            )
        )
        started[-1].start()
    started.append(Service.create(binary=constants.SCHEDULER_BINARY))
    started[-1].start()
    if backup:
        started.append(
            Service.create(
                service_name="backup",
                binary=constants.BACKUP_BINARY,
                coordination=True,
                semaphore=threading.Semaphore(BACKUPS),
            )
        )
        started[-1].start()
    return started


def _close(server: Any, services: list[Any]) -> None:
    server.close()
    for each in reversed(services):
        each.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
