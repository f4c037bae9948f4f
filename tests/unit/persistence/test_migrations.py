"""The schema's revisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from persistence import SchemaOutOfDate, State, migrations, schema
from persistence.database import Database


def script() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def test_head_is_the_last_revision() -> None:
    assert ScriptDirectory.from_config(script()).get_heads() == [migrations.HEAD]


def test_revisions_make_what_the_program_expects(state: State) -> None:
    def ours(thing: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        return kind != "table" or name in schema.metadata.tables

    with state._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours})
        assert compare_metadata(context, schema.metadata) == []


def test_migrations_can_be_reverted_and_repeated(new_url: str) -> None:
    State.migrate(new_url)
    config = script()
    database = Database(new_url)
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.read() as connection:
        left = set(sa.inspect(connection).get_table_names()) & set(schema.metadata.tables)
        assert left == set()
    database.close()
    with State.open(new_url, migrate=True) as state:
        assert state.runs.list() == []


def test_a_newer_schema_is_left_alone(new_url: str) -> None:
    State.migrate(new_url)
    database = Database(new_url)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE state_version SET version_num = 'later'"))
    database.close()
    for migrate in (None, True, False):
        with pytest.raises(SchemaOutOfDate) as caught:
            State.open(new_url, migrate=migrate)
        assert caught.value.found == "later"
    with pytest.raises(SchemaOutOfDate, match="newer release") as caught:
        State.migrate(new_url)
    assert caught.value.newer


def test_the_tables_of_taskflow_are_those_that_we_know() -> None:
    """If TaskFlow changes its tables, volflow needs a revision that upgrades them."""
    from taskflow.persistence.backends.sqlalchemy import migration, tables

    # TaskFlow gives the path of its scripts relative to its own file.
    known = ScriptDirectory.from_config(migration._make_alembic_config())
    assert known.get_heads() == ["00af93df9d77"]
    metadata = sa.MetaData()
    tables.fetch(metadata)
    assert {name: len(table.columns) for name, table in metadata.tables.items()} == {
        "logbooks": 5,
        "flowdetails": 7,
        "atomdetails": 14,
    }
