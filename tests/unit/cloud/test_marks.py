"""The marks in Cinder: built and parsed, always in the form of the marks that are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from volflow.cloud import marks
from volflow.cloud.marks import Mark

RUN = "00000000-0000-4000-8000-000000000000"
VOLUME = "11111111-0000-4000-8000-000000000000"


def carrying(**metadata: str) -> dict[str, Any]:
    return {"metadata": metadata}


def test_a_tag_is_run_volume_and_kind() -> None:
    assert str(Mark(RUN, VOLUME, "safety snapshot")) == f"{RUN}/{VOLUME}/safety snapshot"


def test_a_tag_is_parsed_to_what_it_was_built_from() -> None:
    mark = Mark(RUN, VOLUME, marks.KEPT)
    assert Mark.parse(str(mark)) == mark


@pytest.mark.parametrize(
    "tag",
    [
        None,
        "",
        "foo",
        "foo/bar",
        "a/b/c/d",
        "team/web/volume",
        f"{RUN}/web/volume",
        f"team/{VOLUME}/volume",
        f"{RUN[:8]}/{VOLUME}/volume",
        f"{RUN.replace('-', '')}/{VOLUME}/volume",
        f"{RUN}/{VOLUME}/web",
        f"{RUN}/{VOLUME}/attachment",
        f"{RUN}/{VOLUME}/volume\n",
        f"{RUN}/{VOLUME}@a/b/volume",
        f" {RUN}/{VOLUME}/volume",
    ],
)
def test_what_volflow_does_not_write_is_no_mark(tag: str | None) -> None:
    assert Mark.parse(tag) is None


def test_a_volume_of_which_several_projects_have_a_backup_has_a_mark() -> None:
    mark = Mark(RUN, f"{VOLUME}@1ab00000000000000000000000000001", marks.RESTORED)
    assert Mark.parse(str(mark)) == mark


def test_a_tag_in_the_ledger_has_any_kind() -> None:
    assert Mark.recorded(f"{RUN}/{VOLUME}/attachment") == Mark(RUN, VOLUME, "attachment")


def test_the_keys_and_kinds_are_those_in_clouds_and_ledgers() -> None:
    assert (marks.TAG_KEY, marks.ALIVE_KEY) == ("volflow", "volflow_alive")
    assert marks.ID_KEY == "volflow_id"
    kinds = (marks.TEMPORARY, marks.RESTORED, marks.CLAIMED, marks.KEPT)
    assert kinds == ("volume", "target", "claim", "kept")


def test_the_mark_of_a_resource_is_in_its_metadata() -> None:
    volume = carrying(volflow=f"{RUN}/{VOLUME}/claim")
    assert Mark.of(volume) == Mark(RUN, VOLUME, marks.CLAIMED)
    assert marks.kind_of(volume) == marks.CLAIMED


def test_what_a_tenant_writes_under_the_key_is_a_tag_but_no_mark() -> None:
    volume = carrying(volflow="mine")
    assert marks.tag_of(volume) == "mine"
    assert Mark.of(volume) is None
    assert marks.kind_of(volume) == ""


@pytest.mark.parametrize("kind", ["group", "group snapshot"])
def test_the_description_of_a_group_of_a_run_is_its_tag(kind: str) -> None:
    assert marks.is_described({"description": str(Mark(RUN, VOLUME, kind))})


@pytest.mark.parametrize("text", [None, "", "my group", f"{RUN}/v/volume", "x/v/group"])
def test_other_descriptions_are_no_tags(text: str | None) -> None:
    assert not marks.is_described({"description": text})


def test_a_sign_of_life_is_read_as_it_was_written() -> None:
    here = datetime(2026, 1, 2, 5, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    assert marks.alive(here) == {"volflow_alive": "2026-01-02T03:04:05"}
    assert marks.last_alive(carrying(**marks.alive(here))) == datetime(
        2026, 1, 2, 3, 4, 5, tzinfo=UTC
    )


def test_a_volume_without_a_sign_of_life_has_none() -> None:
    assert marks.last_alive(carrying()) is None
