"""What volflow itself costs for each volume, in runs of 10, 100 and 1,000 volumes."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import place
from bench.report import MB, Report, Target, machine, reference, say
from persistence import State

MADE = """\
`tools/bench orchestration`: a backup of all volumes of a cloud, with a python-cinderclient
(`tests/support/fake_cinder`), a host and a repository (`bench/standin.py`) that answer at once and
do nothing. The tasks, flows, engines and the state database are real. Ten volumes run in parallel,
each run in its own process. CPU is that of the run, without the start of Python: the median of
{rounds}. Memory is the peak of the process. PostgreSQL runs as a server on this machine, with fsync
off; its CPU is not counted. The reference is a fixed piece of Python, run before and after: its
time shows how much the machine was disturbed. {machine}."""

# The targets: milliseconds, a ratio, MB.
MOST_CPU = {"SQLite": 40.0, "PostgreSQL": 45.0}
MOST_GROWTH = 1.2
MOST_MEMORY = 150.0


@dataclass(frozen=True)
class Cost:
    """The cost of one run, in seconds and bytes."""

    wall: float
    cpu: float
    memory: int
    reference: float


def run(*, short: bool, rounds: int) -> Report:
    """Run the benchmark; returns its report."""
    counts = (10, 100) if short else (10, 100, 1000)
    costs: dict[tuple[str, int], list[Cost]] = {}
    with place.directory() as directory, ExitStack() as servers:
        # Many others need neither the server nor its driver.
        from tests.support import postgresql

        server = servers.enter_context(postgresql.running())
        for number in range(rounds):
            for count in counts:
                for database in ("SQLite", "PostgreSQL"):
                    url = server if database == "PostgreSQL" else None
                    cost = _measure(directory / "run", count, url)
                    costs.setdefault((database, count), []).append(cost)
                    say(
                        f"round {number + 1}: {count} volumes with {database}: "
                        f"{1000 * cost.cpu / count:.1f} ms CPU a volume"
                    )
    report = Report(
        "Orchestration alone",
        MADE.format(rounds=rounds, machine=machine()),
        (
            *("database", "volumes", "wall s", "CPU s", "CPU ms a volume"),
            *("peak MB", "reference ms"),
        ),
    )
    for (database, count), found in sorted(costs.items(), key=lambda one: one[0][0] != "SQLite"):
        wall, cpu = (statistics.median(getattr(c, name) for c in found) for name in ("wall", "cpu"))
        memory = max(cost.memory for cost in found) / MB
        loop = statistics.median(cost.reference for cost in found)
        report.rows.append((database, count, wall, cpu, 1000 * cpu / count, memory, 1000 * loop))
    for database in ("SQLite", "PostgreSQL"):
        each = {c: statistics.median(x.cpu for x in costs[database, c]) / c for c in counts}
        most = max(counts)
        report.targets += [
            Target(
                f"{database}: CPU ms a volume, {most} volumes",
                1000 * each[most],
                MOST_CPU[database],
            ),
            Target(
                f"{database}: peak MB",
                max(c.memory for n in counts for c in costs[database, n]) / MB,
                MOST_MEMORY,
            ),
        ]
        if not short:
            report.targets.append(
                Target(f"{database}: 1,000 to 100 volumes", each[1000] / each[100], MOST_GROWTH)
            )
    return report


def _measure(directory: Path, count: int, server: str | None) -> Cost:
    with _database(server) as url:
        directory.mkdir()
        try:
            before = reference()
            done = subprocess.run(
                [
                    *(
                        sys.executable,
                        "-m",
                        "bench.orchestration_worker",
                        str(count),
                        str(directory),
                    ),
                    *([url] if url else []),
                ],
                stdout=subprocess.PIPE,
                check=True,
            )
            told = json.loads(done.stdout)
        finally:
            shutil.rmtree(directory)
    loop = (before + reference()) / 2
    return Cost(told["wall"], told["cpu"], told["memory"], loop)


@contextmanager
def _database(server: str | None) -> Iterator[str | None]:
    """A new database on the server, if a server is given."""
    if server is None:
        yield None
        return
    import psycopg

    name = "bench"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = f"{server.rpartition('/')[0]}/{name}"
        try:
            State.migrate(url)
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
