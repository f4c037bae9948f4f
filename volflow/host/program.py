"""Starts every program that volflow uses, waits for it, and ends it.

No other module starts a program. What is started here

* ends with volflow, also if volflow is killed: :class:`Bond`;
* ends when volflow is asked to stop, unless something is being undone: :func:`undisturbed`;
* ends when it makes no progress for its :class:`Limit`;
* cannot fill the memory: its errors go to a file, and only a part of them is read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL, Signals
from typing import IO

from volflow.errors import HostError, NoProgressError, StoppedError

LOG = logging.getLogger(__name__)

# Seconds between two looks at a program that runs: whether it must end.
_LOOK = 0.2
# Seconds that a program may take to end after SIGINT, and after SIGKILL. A program that waits for a
# device does not end before the device answers.
_GENTLE, _KILLED = 5.0, 3.0
# Seconds that the output of a program may stay open after its end, because of its children.
_OPEN = 1.0
# Seconds that sudo and others may take to begin a program; characters of a name that Linux keeps.
_BEGINS, _NAME = 2.0, 15
# A program makes progress if it uses the processor for this part of the time.
_BUSY = 0.01
# Bytes to read at a time, and of the longest line.
_CHUNK, _LINE = 64 * 1024, 64 * 2**20
# Bytes of the last messages of a program, which an error quotes.
_LAST_WORDS = 64 * 1024
# Bytes of output that a program may hand over as a whole.
_MOST = 2**30
# Free bytes below which a program's messages are not written to the temporary directory.
_ROOM = 64 * 2**20
# Marks the programs of one process in their environment.
_MARK = "VOLFLOW_BOND"

# Ends the programs of a process that has ended, without any more chance to do so itself: waits for
# the end of its standard input, then sends SIGINT to the marked programs, and after five seconds
# SIGKILL. Only leaders of a session are programs that volflow started. Their own children end with
# them; restic needs some to remove its lock.
_WATCH = """
mark=$1
while read -r line; do
    [ "$line" != over ] || exit 0
done
round=0 signal=INT
while [ "$round" -lt 80 ]; do
    found=
    for file in $(grep -lsF "$mark" /proc/[0-9]*/environ); do
        pid=${file#/proc/} pid=${pid%/environ}
        stat=
        read -r stat 2>/dev/null <"/proc/$pid/stat"
        set -- ${stat##*) }
        [ "$4" = "$pid" ] || continue
        found=yes
        # The children of what does not end by itself would outlive it.
        [ "$signal" != KILL ] || pid=-$pid
        [ -z "$signal" ] || kill -s "$signal" -- "$pid"
    done
    [ "$found" ] || exit 0
    round=$((round + 1)) signal=
    [ "$round" -lt 50 ] || signal=KILL
    sleep 0.1
done
"""

_scope = threading.local()
_holders: weakref.WeakSet[Holder] = weakref.WeakSet()


def _forked() -> None:
    for holder in list(_holders):
        holder.forked()


# The daemon of oslo.privsep is such a child.
os.register_at_fork(after_in_child=_forked)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let programs of this thread run although volflow is asked to stop, while the block runs.

    For what undoes or cleans up. Limits of time still hold.
    """
    before = heeds_stop()
    heed_stop(False)
    try:
        yield
    finally:
        heed_stop(before)


def heed_stop(heed: bool) -> None:
    """Set whether programs of this thread end when volflow is asked to stop; they do by default."""
    _scope.heed = heed


def heeds_stop() -> bool:
    """Whether programs of this thread end when volflow is asked to stop."""
    return getattr(_scope, "heed", True)


@contextlib.contextmanager
def noting(note: Callable[[int], None]) -> Iterator[None]:
    """Note the processes that this thread starts for a copy while the block runs.

    :param note: called with the id of each
    """
    before = getattr(_scope, "note", None)
    _scope.note = note
    try:
        yield
    finally:
        _scope.note = before


@dataclass(frozen=True)
class Limit:
    """How long a program may make no progress: it prints nothing and hardly uses the processor.

    :ivar seconds: this long
    :ivar advice: what to check, and which option raises the limit
    :ivar total: the limit is for the whole time that the program runs, with or without progress
    """

    seconds: float
    advice: str = ""
    total: bool = False


@dataclass(frozen=True)
class Ended:
    """A program that has ended.

    :ivar returncode: its exit status; negative for the number of a signal
    :ivar stdout: its output
    :ivar stderr: the end of its errors
    """

    returncode: int
    stdout: str
    stderr: str


class Holder:
    """A program that lives until its standard input is closed.

    The kernel closes that when this process ends, for whatever reason. So it can end with this
    process also where sudo, which does not pass on a signal from the kernel, is between them.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._said = _temporary_file()
        self._line = b""
        self._lock = threading.Lock()
        # No file object: a fork must be able to close its copy without any lock.
        read, self._stdin = os.pipe()
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=read,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=_unmarked(environment),
                start_new_session=True,
            )
        except OSError as error:
            self._said.close()
            self.let_go()
            raise _not_started(argv[0], error) from error
        finally:
            os.close(read)
        _holders.add(self)
        self.pid = self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def first_line(self, limit: float) -> str:
        """Its first line of output; empty if it has ended, or prints none within these seconds."""
        return self.next_line(limit) or ""

    def next_line(self, limit: float) -> str | None:
        """Its next line of output; empty if it prints none within these seconds.

        :returns: None if its output has ended
        """
        assert self._process.stdout is not None
        deadline = time.monotonic() + limit
        while not self._line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not _readable(self._process.stdout.fileno(), left):
                return ""
            if not (more := os.read(self._process.stdout.fileno(), 1)):
                return None
            self._line += more
        line, self._line = self._line, b""
        return os.fsdecode(line).strip()

    def said(self) -> str:
        """The end of its errors."""
        return _last_words(self._said)

    def let_go(self, last: bytes = b"") -> None:
        """Close its standard input, without waiting for its end.

        :param last: what to write to it before
        """
        with self._lock:
            stdin, self._stdin = self._stdin, -1
        if stdin >= 0:
            if last:
                with contextlib.suppress(OSError):
                    os.write(stdin, last)
            os.close(stdin)

    def forked(self) -> None:
        """Close the copy of its standard input in the child of a fork, which would keep it open."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def __del__(self) -> None:
        if getattr(self, "_stdin", -1) >= 0:
            self.let_go()

    def close(self, limit: float) -> bool:
        """Close its standard input and wait for its end, at most for these seconds.

        It may be closed twice, also by two threads.

        :returns: whether it has ended
        """
        self.let_go()
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        if self._process.stdout:
            self._process.stdout.close()
        self._said.close()
        return True


class Bond:
    """Ends the programs that this process has started when it ends in any way.

    A small process watches over all of them: see ``_WATCH``.

    :param helper: the command that becomes root, before the watch
    :param environment: of the watch
    """

    def __init__(self, helper: Sequence[str], environment: Callable[[], Mapping[str, str]]) -> None:
        self._helper = list(helper)
        self._environment = environment
        self._lock = threading.Lock()
        self._process = 0
        self._token = ""
        self._running = 0
        self._watch: Holder | None = None

    def close(self) -> None:
        """End the watch. The next program starts another one."""
        with self._lock:
            watch, self._watch = self._watch, None
            if watch and self._process == os.getpid():
                watch.let_go(b"" if self._running else b"over\n")
                watch.close(_KILLED)

    def end(self) -> None:
        """A program has ended."""
        with self._lock:
            self._running -= 1

    def begin(self) -> dict[str, str]:
        """A program begins; returns what its environment must contain.

        Starts the watch if it does not run.
        """
        with self._lock:
            if self._process != os.getpid():
                # After a fork, the other process has its own programs and its own watch.
                self._process, self._token, self._watch = os.getpid(), uuid.uuid4().hex, None
                self._running = 0
            self._running += 1
            mark = f"{_MARK}={self._token}"
            if not self._watch or not self._watch.runs:
                argv = [*self._helper, "sh", "-c", _WATCH, "sh", mark]
                # Without a shell, the program itself fails too, and says why.
                with contextlib.suppress(HostError):
                    self._watch = Holder(argv, self._environment())
            return {_MARK: self._token}


class Program:
    """A program that runs. It ends at the end of the ``with`` block at the latest.

    :param name: its name, for messages
    :param argv: the command line
    :param environment: all of its environment
    :param limit: how long it may make no progress while it is waited for; None: for ever
    :param stopping: set when volflow is asked to stop
    :param stdin: its standard input; a file, or the bytes of one
    :param stdout: a file for its output; a pipe unless given
    :param stderr: a file for its errors; a temporary one unless given
    :param gentle: it receives SIGINT, and SIGKILL only if it does not end then
    :param send: sends a signal to it; directly, unless given
    :param bond: what ends it if volflow is killed
    :raises HostError: it cannot be started
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        limit: Limit | None = None,
        stopping: threading.Event | None = None,
        stdin: IO[bytes] | bytes = b"",
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        gentle: bool = False,
        send: Callable[[int, Signals], None] | None = None,
        bond: Bond | None = None,
    ) -> None:
        self.name = name
        self.limit = limit
        self._stopping = stopping or threading.Event()
        self._stdout, self._gentle = stdout, gentle
        self._send = send or self._signal
        self._said = stderr or _temporary_file()
        self._closes = stderr is None
        self._bond = bond
        self._poll = select.poll()
        self._pid_fd = -1
        self._progress = time.monotonic()
        self._used = 0.0
        self._size = 0
        with contextlib.ExitStack() as stack:
            if isinstance(stdin, bytes):
                text, stdin = stdin, stack.enter_context(_memory() if stdin else _nothing())
                if text:
                    stdin.write(text)
                    stdin.seek(0)
            mark = bond.begin() if bond else {}
            try:
                self._process = subprocess.Popen(
                    list(argv),
                    stdin=stdin,
                    stdout=subprocess.PIPE if stdout is None else stdout,
                    stderr=self._said,
                    env={**environment, **mark},
                    start_new_session=True,
                )
            except OSError as error:
                self._close()
                raise _not_started(argv[0], error) from error
        self.pid = self._process.pid
        with contextlib.suppress(OSError):
            # Not on an old kernel, nor in every sandbox.
            self._pid_fd = os.pidfd_open(self.pid)
            self._poll.register(self._pid_fd, select.POLLIN)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end()
        finally:
            self._close()

    def _close(self) -> None:
        if self._closes:
            self._said.close()
        if self._pid_fd >= 0:
            os.close(self._pid_fd)
            self._pid_fd = -1
        if hasattr(self, "_process") and self._process.stdout:
            self._process.stdout.close()
        bond, self._bond = self._bond, None
        if bond:
            bond.end()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def chunks(self, look: Callable[[], None] | None = None) -> Iterator[bytes]:
        """Its output, as it comes.

        :param look: called regularly meanwhile, instead of the look at the stop and the limit
        :raises StoppedError: volflow is asked to stop; the program has been ended
        :raises NoProgressError: it made no progress for too long, and has been ended
        """
        assert self._process.stdout is not None
        fd, looked, ended = self._process.stdout.fileno(), 0.0, 0.0
        self._moves()
        while True:
            if _readable(fd, _LOOK):
                if not (chunk := os.read(fd, _CHUNK)):
                    return
                yield chunk
                self._moves()
            elif self.ended:
                ended = ended or time.monotonic()
                if time.monotonic() > ended + _OPEN:
                    return
            if time.monotonic() > looked + _LOOK:
                looked = time.monotonic()
                (look or self._look)()

    def records(
        self, end: bytes = b"\0", look: Callable[[], None] | None = None
    ) -> Iterator[bytes]:
        """Its output, record by record.

        :param end: what ends each record; it is removed
        :raises HostError: a record is too long
        """
        rest: list[bytes] = []
        length = 0
        for chunk in self.chunks(look):
            first, *others = chunk.split(end)
            rest.append(first)
            length += len(first)
            if length > _LINE:
                raise HostError(f"{self.name} printed a line of more than {_LINE} bytes.")
            if others:
                yield b"".join(rest)
                *complete, last = others
                yield from complete
                rest, length = [last], len(last)
        if length:
            yield b"".join(rest)

    def wait(self, look: Callable[[], None] | None = None) -> int:
        """Wait for its end; returns its exit status, negative for the number of a signal.

        :param look: called regularly meanwhile, instead of the look at the stop and the limit
        :raises StoppedError: volflow is asked to stop; the program has been ended
        :raises NoProgressError: it made no progress for too long, and has been ended
        """
        self._moves()
        while not self._await(_LOOK):
            if self._stdout is not None:
                size = os.fstat(self._stdout.fileno()).st_size
                if size != self._size:
                    self._size = size
                    self._moves()
            (look or self._look)()
        return int(self._process.returncode)

    def said(self) -> str:
        """The end of its errors."""
        return _last_words(self._said)

    def note(self, program: str) -> None:
        """Report its process to whoever wants to note it: see :func:`noting`.

        :param program: the name of the program; another one, such as sudo, may have started it
        """
        note: Callable[[int], None] | None = getattr(_scope, "note", None)
        if note is not None:
            note(self._find(os.path.basename(program)[:_NAME]) or self.pid)

    def _find(self, name: str) -> int | None:
        """The process with this name among this one and its descendants, once there is one."""
        deadline = time.monotonic() + _BEGINS
        while time.monotonic() < deadline and not self.ended:
            for pid in _descendants(self.pid):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text(errors="replace").strip() == name:
                        return pid
            time.sleep(0.005)
        return None

    def errors(self, most: int = 50_000) -> tuple[list[str], int]:
        """The lines of its errors.

        :param most: the number of lines to return at most: the first ones and the last ones
        :returns: the lines, and the number of those that were left out
        """
        os.lseek(self._said.fileno(), 0, os.SEEK_SET)
        lines: list[str] = []
        last: list[str] = []
        left_out, keep = 0, min(1000, most // 2)
        with os.fdopen(os.dup(self._said.fileno()), "rb") as file:
            while line := file.readline(_CHUNK):
                text = line.decode("utf-8", errors="surrogateescape").rstrip()
                if len(lines) < most - keep:
                    lines.append(text)
                    continue
                last.append(text)
                if len(last) > 2 * keep:
                    left_out += len(last) - keep
                    del last[:-keep]
        if len(last) > keep:
            left_out += len(last) - keep
            del last[:-keep]
        return [*lines, *last], left_out

    def end(self) -> None:
        """End it, if it still runs. It does not wait for a program that cannot be killed."""
        if self.ended:
            return
        if self._gentle:
            self.signal(SIGINT)
            if self._await(_GENTLE):
                return
        self.signal(SIGKILL)
        if not self._await(_KILLED):
            LOG.warning(
                "%s (process %d) does not end although it was killed: it waits for a device or a "
                "file system that does not answer.",
                self.name,
                self.pid,
            )

    def signal(self, number: Signals) -> None:
        """Send a signal to it, if it still runs."""
        if not self.ended:
            self._send(self.pid, number)

    @staticmethod
    def _signal(pid: int, number: Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if number == SIGKILL:
                # It leads a group of its own: its children end too.
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def _await(self, seconds: float) -> bool:
        """Wait for its end, at most for these seconds; returns whether it has ended."""
        if self._pid_fd >= 0:
            self._poll.poll(seconds * 1000)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return self.ended

    def _moves(self) -> None:
        self._progress = time.monotonic()

    def _look(self) -> None:
        """End it if it must end."""
        if self._stopping.is_set() and heeds_stop():
            self.end()
            raise StoppedError(f"{self.name} was stopped.")
        limit = self.limit
        if limit is None or time.monotonic() < self._progress + limit.seconds:
            return
        used = _processor_time(self.pid)
        if not limit.total and used > self._used + _BUSY * limit.seconds:
            self._used = used
            self._moves()
            return
        self.end()
        without = "" if limit.total else " without progress"
        raise NoProgressError(
            f"{self.name} was ended after {limit.seconds:g} s{without}"
            f"{': ' + limit.advice if limit.advice else ''}.",
            self.said(),
        )


def run(program: Callable[[IO[bytes]], Program]) -> Ended:
    """Run a program to its end.

    :param program: starts it, with this file for its output
    :raises StoppedError: volflow is asked to stop; the program has been ended
    :raises NoProgressError: it made no progress for too long, and has been ended
    :raises HostError: it cannot be started, or its output is too long
    """
    with _temporary_file() as output, program(output) as started:
        status = started.wait()
        size = os.fstat(output.fileno()).st_size
        if size > _MOST:
            raise HostError(f"{started.name} printed {size} bytes, more than volflow reads.")
        output.seek(0)
        out = output.read().decode("utf-8", errors="surrogateescape")
        return Ended(status, out, started.said())


def bound(argv: Sequence[str], number: Signals = SIGKILL) -> list[str]:
    """The command line that receives a signal when the thread that starts it ends, or sudo."""
    return ["setpriv", "--pdeathsig", number.name.removeprefix("SIG"), *argv]


def _unmarked(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the mark of the process that has started this one, which would end it."""
    return {name: value for name, value in environment.items() if name != _MARK}


def _temporary_file() -> IO[bytes]:
    try:
        if shutil.disk_usage(tempfile.gettempdir()).free < _ROOM:
            # What a program says must not be lost because a disk is full: that may be what it says.
            return _memory()
        # The file has no name: nobody else can open it.
        return tempfile.TemporaryFile()
    except OSError as error:
        raise HostError(
            f"No temporary file can be made ({error.strerror or error}): free space, or set TMPDIR "
            "to a directory that can be written to."
        ) from error


def _memory() -> IO[bytes]:
    """A file in memory: the input of a program can be a secret, which must not reach a disk."""
    return os.fdopen(os.memfd_create("volflow"), "w+b")


def _nothing() -> IO[bytes]:
    return open(os.devnull, "r+b")


def _not_started(program: str, error: OSError) -> HostError:
    if isinstance(error, FileNotFoundError):
        return HostError(
            f"'{error.filename or program}' is not installed; 'volflow doctor' lists what is "
            "missing."
        )
    return HostError(f"'{program}' could not be started: {error.strerror or error}.")


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _last_words(file: IO[bytes]) -> str:
    size = os.fstat(file.fileno()).st_size
    last = os.pread(file.fileno(), _LAST_WORDS, max(0, size - _LAST_WORDS))
    return last.decode("utf-8", errors="surrogateescape")


def _processor_time(pid: int) -> float:
    """The seconds for which a process and its descendants have used the processor."""
    total = 0.0
    for one in _descendants(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Its name, in parentheses, can contain anything (proc_pid_stat(5)).
            fields = Path(f"/proc/{one}/stat").read_bytes().rpartition(b")")[2].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def _descendants(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    left = [pid]
    while left:
        one = left.pop()
        yield one
        with contextlib.suppress(OSError, ValueError):
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                left += map(int, children.read_text().split())
