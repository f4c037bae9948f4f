"""The log: which run and volume each line names, where it goes, and what it never contains."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from volflow import config, logs
from volflow.errors import ConfigError, VolflowError

LOG = logging.getLogger("volflow.somewhere")


class Terminal(logging.StreamHandler[Any]):
    """The command line's handler for the terminal, which keeps the lines that it shows."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.shown: list[str] = []
        self.setLevel(logging.INFO)
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.shown.append(self.format(record))


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Set up logging as volflow's command line does; restore it afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    levels = {
        name: logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    found = Terminal(sys.stderr)
    root.handlers[:] = [found]
    root.setLevel(logging.DEBUG)
    yield found
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            logger.setLevel(levels.get(name, logging.NOTSET))
    logs.begin()


def setup(tmp_path: Path, *quieted: str, **values: Any) -> Path:
    """Set up the log, and return its file, which the options may change."""
    root = logging.getLogger()
    # pytest has added handlers of its own.
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, Terminal)]
    file = tmp_path / "volflow.log"
    options = {"log_file": file} | values
    conf = tmp_path / "volflow.conf"
    lines = [f"{name} = {value}" for name, value in options.items() if value is not None]
    conf.write_text("[DEFAULT]\n" + "\n".join(lines) + "\n")
    logs.setup(config.load([str(conf)]), quieted)
    return file


def test_each_line_names_its_run_and_volume(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path)
    LOG.info("before")
    with logs.about("run-1"):
        LOG.info("of the run")
        with logs.about("run-1", "volume-1"):
            LOG.info("of the volume")
        LOG.info("of the run again")
    LOG.info("after")
    about = re.compile(r"INFO volflow\.somewhere \[(\S+) (\S+)\] (.*)")
    found = [about.search(line) for line in file.read_text().splitlines()]
    assert [match and match.groups() for match in found] == [
        ("-", "-", "before"),
        ("run-1", "-", "of the run"),
        ("run-1", "volume-1", "of the volume"),
        ("run-1", "-", "of the run again"),
        ("-", "-", "after"),
    ]
    # A time with milliseconds, and the process.
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ INFO", file.read_text())


def test_each_thread_logs_its_own_volume(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path)
    together = threading.Barrier(8)

    def work(number: int) -> None:
        logs.begin("run", f"volume-{number}")
        together.wait()
        for _ in range(50):
            # Messages of libraries belong to the volume as well.
            logging.getLogger("some.library").info("about volume-%s", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = file.read_text().splitlines()
    assert len(lines) == 400
    for line in lines:
        found = re.search(r"\[run (volume-\d)\] about (volume-\d)", line)
        assert found
        assert found[1] == found[2]


def test_a_line_of_json_names_the_run_and_the_volume(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path, use_json=True)
    with logs.about("run-1", "volume-1"):
        LOG.warning("two\nlines and \x1b[31m")
    (line,) = file.read_text().splitlines()
    found = json.loads(line)
    assert found["message"] == "two\nlines and \x1b[31m"
    assert (found["context"]["run"], found["context"]["volume"]) == ("run-1", "volume-1")


def test_a_log_file_does_not_change_what_the_terminal_shows(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = setup(tmp_path)
    LOG.debug("small")
    LOG.info("middling")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    assert terminal.shown == ["middling"]
    assert "SELECT" not in file.read_text()
    assert "small" not in file.read_text()


def test_what_is_quiet_on_the_terminal_is_in_the_file(terminal: Terminal, tmp_path: Path) -> None:
    terminal.addFilter(logs.Quiet(["os_brick", "oslo"]))
    for name in ("os_brick", "oslo"):
        logging.getLogger(name).setLevel(logging.ERROR)
    file = setup(tmp_path, "os_brick", "oslo")
    logging.getLogger("os_brick.initiator").warning("no iSCSI here")
    logging.getLogger("oslo").error("bad")
    logging.getLogger("oslo_concurrency").warning("locked")
    assert terminal.shown == ["bad", "locked"]
    assert [line.rpartition("] ")[2] for line in file.read_text().splitlines()] == [
        "no iSCSI here",
        "bad",
        "locked",
    ]


def test_debug_messages_go_to_the_file_and_not_to_the_terminal(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = setup(tmp_path, debug=True)
    LOG.debug("small")
    assert "DEBUG volflow.somewhere [- -] small" in file.read_text()
    assert terminal.shown == []


def test_no_password_is_logged(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path)
    LOG.info("%s", {"auth_password": "hunter2", "auth_username": "x"})
    LOG.info("the answer is {'adminPass': 'hunter2'}")
    assert "hunter2" not in file.read_text()
    assert "hunter2" not in "".join(terminal.shown)


def test_names_that_look_like_secrets_are_readable(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path)
    says = "This cloud has no volume type 'secret-type'; it has: password, token 2."
    LOG.error(says)
    # As cliff reports an error that ends a command.
    logging.getLogger("main.py").error(VolflowError(says))
    assert terminal.shown == [says, says]
    assert file.read_text().count(says) == 2
    logging.getLogger("library").error("the secret 'hunter2' is wrong, password=hunter2")
    LOG.debug("password=hunter2")
    assert "hunter2" not in file.read_text()
    assert "hunter2" not in "".join(terminal.shown)


def test_control_characters_are_escaped(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path)
    LOG.info("volume %s", "\x1b]0;title\x07\u202ered\x00")
    assert terminal.shown == [r"volume \x1b]0;title\x07\u202ered\x00"]
    assert r"volume \x1b]0;title\x07\u202ered\x00" in file.read_text()


def test_no_message_can_forge_another(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path)
    LOG.info("name: x\n2026-01-02 03:04:05.678 1 INFO volflow.runs.runner [a b] All is well")
    first, second = file.read_text().splitlines()
    assert first.endswith("name: x")
    assert second.startswith("    2026")


def test_an_exception_is_logged_with_its_run_and_volume(terminal: Terminal, tmp_path: Path) -> None:
    file = setup(tmp_path)
    with logs.about("run-1", "volume-1"):
        try:
            raise RuntimeError("out of order")
        except RuntimeError:
            LOG.exception("It failed")
    text = file.read_text()
    assert "ERROR volflow.somewhere [run-1 volume-1] It failed" in text
    assert "RuntimeError: out of order" in text


def test_a_log_that_cannot_be_opened_is_an_error(terminal: Terminal, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Configuration of the log"):
        setup(tmp_path, log_file=tmp_path / "nowhere" / "volflow.log")
    # The terminal still shows messages.
    LOG.error("still shown")
    assert terminal.shown == ["still shown"]


def test_an_unknown_level_is_an_error(terminal: Terminal, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Configuration of the log"):
        setup(tmp_path, default_log_levels="volflow=LOUD")


def test_no_file_is_opened_without_the_option(terminal: Terminal, tmp_path: Path) -> None:
    assert not setup(tmp_path, log_file=None).exists()
    assert logging.getLogger().handlers == [terminal]


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_enormous_message_is_cut(terminal: Terminal, tmp_path: Path, form: str) -> None:
    file = setup(tmp_path, use_json=form == "json" or None)
    try:
        raise OSError("x" * 5_000_000)
    except OSError as error:
        LOG.warning("It failed: %s", error, exc_info=True)
    text = file.read_text()
    assert "It failed: xxx" in text
    assert "characters left out" in text
    assert len(text) < 500_000
    if form == "json":
        assert json.loads(text.splitlines()[0])["message"].startswith("It failed")
