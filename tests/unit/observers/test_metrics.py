"""The metrics of backups for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from persistence import Backup, ItemState, State
from volflow import config
from volflow.errors import ConfigError
from volflow.observers.metrics import Metrics, registry
from volflow.results.outcome import Outcome, VolumeResult, full_read

NOW = datetime.now(UTC)
HOSTILE = 'a"b\\c\nvolflow_leftovers 99\n# {}é\x1b[31m'

Labels = dict[str, str]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


def options(tmp_path: Path, **values: Any) -> Any:
    file = tmp_path / "volflow.conf"
    lines = [f"{name} = {value}" for name, value in values.items()]
    file.write_text("[metrics]\n" + "\n".join(lines) + "\n")
    return config.load([str(file)]).metrics


def told(conf: Any, state: State, now: datetime = NOW) -> dict[str, list[tuple[Labels, float]]]:
    """The samples by metric name, as Prometheus reads them."""
    return read(generate_latest(registry(conf, state, now)).decode())


def read(text: str) -> dict[str, list[tuple[Labels, float]]]:
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(samples: dict[str, list[tuple[Labels, float]]], name: str, **labels: str) -> float:
    """The value of the one sample that has these labels."""
    (found,) = [
        number for given, number in samples[f"volflow_{name}"] if labels.items() <= given.items()
    ]
    return found


def stored(state: State, volume_id: str, age: float, **more: Any) -> Backup:
    """A backup made this many hours ago."""
    values: dict[str, Any] = {
        "id": f"{volume_id} {age}",
        "repository": "/r",
        "volume_id": volume_id,
        "volume_name": f"name of {volume_id}",
        "project_id": "p",
        "size_gib": 1,
        "created_at": NOW - timedelta(hours=age),
        "run_id": "r",
        "parent_id": None,
        "outcome": "complete",
        "figures": {},
    }
    backup = Backup(**values | more)
    state.catalogue.add(backup)
    return backup


def attempted(
    state: State, volume_id: str, age: float, outcome: str, name: str = "", **result: Any
) -> str:
    """The run of an attempt that ended this many hours ago."""
    run = state.runs.create(
        "backup",
        {"projects": {volume_id: "its project"}},
        [(volume_id, name)],
        host="h",
        boot_id="b",
        pid=1,
    )
    kept = VolumeResult(
        volume_id, name, Outcome("failed" if outcome == "aborted" else outcome), **result
    )
    state.runs.update_item(
        run.id,
        volume_id,
        state=ItemState[outcome.upper()],
        result=kept.to_dict(),
        finished_at=NOW - timedelta(hours=age),
    )
    return run.id


def test_a_volume_that_is_backed_up(state: State, tmp_path: Path) -> None:
    figures = {
        "files_new": 1,
        "files_changed": 2,
        "files_unmodified": 4,
        "bytes_total": 1000,
        "bytes_read": 300,
        "bytes_stored": 200,
    }
    stored(state, "v", 30)
    last = stored(state, "v", 2, figures=figures)
    attempted(state, "v", 1.9, "partial", name="now called so", seconds=12.5, unread=("/a", "/b"))
    found = told(options(tmp_path), state)
    assert {
        name: value(found, name, volume_id="v", project_id="p", volume_name="now called so")
        for name in (
            "backup_last_success_timestamp_seconds",
            "backup_last_end_timestamp_seconds",
            "backup_last_duration_seconds",
            "backup_size_bytes",
            "backup_read_bytes",
            "backup_stored_bytes",
            "backup_files",
            "backup_read_files",
            "backup_unread_files",
            "backup_out_of_date",
            "volume_leftovers",
        )
    } == {
        "backup_last_success_timestamp_seconds": last.created_at.timestamp(),
        "backup_last_end_timestamp_seconds": (NOW - timedelta(hours=1.9)).timestamp(),
        "backup_last_duration_seconds": 12.5,
        "backup_size_bytes": 1000,
        "backup_read_bytes": 300,
        "backup_stored_bytes": 200,
        "backup_files": 7,
        "backup_read_files": 3,
        "backup_unread_files": 2,
        "backup_out_of_date": 0,
        "volume_leftovers": 0,
    }
    outcomes = {
        outcome: value(found, "backup_last_outcome", outcome=outcome)
        for outcome in ("complete", "partial", "failed", "aborted")
    }
    assert outcomes == {"complete": 0, "partial": 1, "failed": 0, "aborted": 0}


def test_the_last_full_read_is_told_if_it_is_known(state: State, tmp_path: Path) -> None:
    stored(state, "old", 2)
    stored(state, "v", 2, figures={"files_new": 1} | full_read(NOW - timedelta(days=3)))
    found = told(options(tmp_path), state)
    ((labels, moment),) = found["volflow_backup_last_full_read_timestamp_seconds"]
    assert labels["volume_id"] == "v"
    assert moment == (NOW - timedelta(days=3)).timestamp()


def test_a_failure_does_not_hide_the_last_success(state: State, tmp_path: Path) -> None:
    last = stored(state, "v", 20)
    attempted(state, "v", 1, "failed")
    found = told(options(tmp_path), state)
    assert value(found, "backup_last_success_timestamp_seconds") == last.created_at.timestamp()
    assert value(found, "backup_last_outcome", outcome="failed") == 1
    assert value(found, "backup_out_of_date") == 0


def left_out(state: State, volume_id: str, *, wanted: bool, name: str = "") -> None:
    """Record a run that left out a volume just now."""
    one = {"volume_id": volume_id, "name": name, "reason": "is busy", "wanted": wanted}
    state.runs.create("backup", {"left_out": [one]}, [], host="h", boot_id="b", pid=1)


def test_a_volume_that_had_to_be_left_out(state: State, tmp_path: Path) -> None:
    last = stored(state, "v", 20)
    attempted(state, "v", 20, "complete")
    left_out(state, "v", wanted=True)
    left_out(state, "never", wanted=True, name="never covered")
    left_out(state, "unwanted", wanted=False)
    found = told(options(tmp_path), state, datetime.now(UTC))
    assert value(found, "backup_last_outcome", outcome="left_out", volume_id="v") == 1
    assert value(found, "backup_last_outcome", outcome="complete", volume_id="v") == 0
    when = value(found, "backup_last_success_timestamp_seconds", volume_id="v")
    assert when == last.created_at.timestamp()
    labels = {"volume_id": "never", "volume_name": "never covered"}
    assert value(found, "backup_last_outcome", outcome="left_out", **labels) == 1
    assert value(found, "backup_out_of_date", **labels) == 1
    told_of = {labels["volume_id"] for labels, _ in found["volflow_backup_out_of_date"]}
    assert told_of == {"v", "never"}


def test_a_volume_that_is_covered_again(state: State, tmp_path: Path) -> None:
    left_out(state, "v", wanted=True)
    # Later than the run above, even if these tests began long ago.
    attempted(state, "v", -0.9, "complete")
    found = told(options(tmp_path), state, NOW + timedelta(hours=1))
    assert value(found, "backup_last_outcome", outcome="left_out") == 0
    assert value(found, "backup_last_outcome", outcome="complete") == 1


def test_a_volume_that_was_never_backed_up(state: State, tmp_path: Path) -> None:
    attempted(state, "v", 1, "failed", name="new")
    found = told(options(tmp_path), state)
    labels = {"volume_name": "new", "project_id": "its project"}
    assert value(found, "backup_last_success_timestamp_seconds", **labels) == 0
    assert value(found, "backup_out_of_date", **labels) == 1
    assert "volflow_backup_size_bytes" not in found


@pytest.mark.parametrize(
    ("age", "out_of_date"), [(25.9, 0), (26.1, 1), (400, 1), (-0.05, 0), (-1, 1)]
)
def test_a_backup_is_out_of_date_after_the_limit(
    age: float, out_of_date: int, state: State, tmp_path: Path
) -> None:
    stored(state, "v", age)
    found = told(options(tmp_path), state)
    assert value(found, "backup_out_of_date") == out_of_date
    assert value(found, "out_of_date_after_seconds") == 26 * 3600


def test_the_limits_are_options(state: State, tmp_path: Path) -> None:
    stored(state, "v", 3)
    stored(state, "long gone", 11)
    found = told(options(tmp_path, out_of_date_after=2, forget_after=10), state)
    assert value(found, "backup_out_of_date") == 1
    assert value(found, "out_of_date_after_seconds") == 7200


def test_a_volume_without_a_backup_is_forgotten_too(state: State, tmp_path: Path) -> None:
    attempted(state, "gone", 11, "failed")
    attempted(state, "here", 9, "failed")
    found = told(options(tmp_path, forget_after=10), state)
    assert [labels["volume_id"] for labels, _ in found["volflow_backup_out_of_date"]] == ["here"]


def test_leftovers_are_counted_by_volume_and_in_all(state: State, tmp_path: Path) -> None:
    stored(state, "v", 1)
    for kind in ("snapshot", "volume"):
        state.ledger.intend(f"r/v/{kind}", run_id="r", item="v", kind=kind)
        state.ledger.leftover(f"r/v/{kind}", "busy")
    state.ledger.intend("r/g/group snapshot", run_id="r", item="g", kind="group snapshot")
    state.ledger.leftover("r/g/group snapshot", "busy")
    found = told(options(tmp_path), state)
    assert value(found, "volume_leftovers", volume_id="v") == 2
    # The leftover of a group belongs to no volume.
    assert value(found, "leftovers") == 3


def test_names_cannot_make_metrics(state: State, tmp_path: Path) -> None:
    attempted(state, "v", 1, "complete", name=HOSTILE)
    stored(state, "v", 1, volume_name=HOSTILE, project_id='p"')
    found = told(options(tmp_path), state)
    assert value(found, "leftovers") == 0
    (labels,) = [labels for labels, _ in found["volflow_backup_out_of_date"]]
    assert labels == {
        "volume_id": "v",
        "volume_name": 'a"b\\c\\nvolflow_leftovers 99\\n# {}é\\x1b[31m',
        "project_id": 'p"',
    }


def test_nobody_sees_half_of_the_file(state: State, tmp_path: Path) -> None:
    """A new file replaces the old one, so a reader of the old file still reads all of it."""
    directory = tmp_path / "textfiles"
    directory.mkdir()
    file = directory / "volflow.prom"
    metrics = Metrics(options(tmp_path, textfile=file), state)
    metrics.over("r", None)
    with file.open() as reader:
        before = file.read_text()
        stored(state, "v", 1)
        metrics.over("r", None)
        assert reader.read() == before
    assert "volflow_backup_out_of_date" in read(file.read_text())
    assert [path.name for path in directory.iterdir()] == ["volflow.prom"]


def test_a_file_that_cannot_be_written(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Metrics(options(tmp_path, textfile=tmp_path / "nowhere" / "x.prom"), state).over("r", None)
    assert "could not be written" in caplog.text
    assert "nowhere" in caplog.text


def test_a_name_that_the_node_exporter_would_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="textfile"):
        options(tmp_path, textfile="/var/lib/volflow.txt")
