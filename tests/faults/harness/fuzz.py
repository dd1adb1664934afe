"""Hostile inputs, made from a seed, and the eyes that see what they do.

The normal run takes a fixed number of each kind. `QUEUECTL_FUZZ=20` takes twenty times as many,
`QUEUECTL_FUZZ_SEED` begins elsewhere; a failure names the input, so it needs neither to recur.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import random
import signal
import stat
import string
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from queuectl import cli, clock
from queuectl.spool.spool import Spool

FACTOR = int(os.environ.get("QUEUECTL_FUZZ", "1"))
SEED = int(os.environ.get("QUEUECTL_FUZZ_SEED", "20261124"))


def dice(name: str) -> random.Random:
    """Return the dice of one test: its own, so that one test's changes move no other's inputs."""
    return random.Random(f"{SEED} {name}")


def many(number: int) -> int:
    """How many inputs to try where the normal run tries `number`."""
    return number * FACTOR


# -- what stands around the spool ----------------------------------------------------------

Snapshot = dict[str, tuple[object, ...]]


def snapshot(*roots: Path) -> Snapshot:
    """Return all that can be known of a tree without following a link: types, modes, bytes, times.

    The access time is left out: looking changes it.
    """
    seen: Snapshot = {}
    for root in roots:
        for path in [root, *sorted(root.rglob("*"))]:
            found = path.lstat()
            what: bytes | str = b""
            if path.is_symlink():
                what = os.readlink(path)
            elif stat.S_ISREG(found.st_mode):
                what = path.read_bytes()
            times = (found.st_mtime_ns, found.st_uid, found.st_nlink, found.st_ino)
            seen[str(path)] = (found.st_mode, *times, what)
    return seen


def sentinels(directory: Path) -> Path:
    """Make a tree that nothing has any business in: files that a careless path would hit."""
    directory.mkdir()
    for name in ("etc/passwd", "x.json", "a.1.json", "a.1.run", "a.1.cancel", "a.1.log", "keep"):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{{"command": "echo {name} > {directory}/ran"}}\n')
        path.chmod(0o640)
    (directory / "empty").mkdir()
    return directory


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Name every path whose entry was made, removed or changed."""
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )


def contents(root: Path) -> Counter[bytes]:
    """Count what a spool's files hold, each once, without those that only say who is at work."""
    inodes = {
        path.stat().st_ino: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
        and path.suffix not in (".run", ".cancel", ".lock", ".stop")
        and not (path.parent.name == "workers" and path.suffix == ".json")
    }  # fmt: skip
    return Counter(inodes.values())


Plant = Callable[[Spool], Path]
"""Puts something into a spool that should not be there, and returns its path."""


def private(path: Path, text: str | bytes = "") -> Path:
    """Write a file as a spool's own are: nobody else may read it."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def plant_file(path: str, data: str | bytes = "not ours\n", *, hours: float = 0) -> Plant:
    """A file, so many hours old."""

    def make(spool: Spool) -> Path:
        made = private(Path(spool.layout.root) / path, data)
        then = clock.now() - hours * 3600
        os.utime(made, (then, then))
        return made

    return make


def plant_mode(path: str, mode: int) -> Plant:
    """A mode, of a file that is made if it is not there."""

    def make(spool: Spool) -> Path:
        found = Path(spool.layout.root) / path
        found = found if found.exists() else private(found)
        found.chmod(mode)
        return found

    return make


def plant_link(path: str) -> Plant:
    """A link out of the spool, as old as can be."""

    def make(spool: Spool) -> Path:
        found = Path(spool.layout.root) / path
        found.unlink(missing_ok=True)
        found.symlink_to(Path(spool.layout.root).parent / "outside" / "keep")
        os.utime(found, (0, 0), follow_symlinks=False)
        return found

    return make


# -- values --------------------------------------------------------------------------------


def _in_arabic(text: str) -> str:
    """Write the digits in another script: they are digits to `\\d` and to `int` alike."""
    return text.translate({ord(str(n)): chr(0x660 + n) for n in range(10)})


CONTROLS = "".join(map(chr, [*range(32), 127, *range(128, 160)]))
NASTY_TEXTS = [
    "", " ", "\t\n", "\0", "a\0b", "\x1b[31mred", "\x1b]0;title\x07", "\x1b[2J\x1b[H", "\r\n",
    "line\nqueuectl: error: forged", "\u202egnp.exe", "\u2028", "\ufeff", "\x9b31m", "\x7f",
    "..", ".", "/", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "-rf", "--help", "$HOME",
    "$(exit 7)", "`exit 7`", "%s%n%x", "{0}{x}", "é", "日本語", "😀", "\ud7ff", "\ue000",
    "\ufffe", "\U0010ffff", "a" * 100, "a" * 101, "a" * 5000, CONTROLS, "null", "NaN", "x=y", "=",
    "2026-11-24T08:00:00Z", "2026-11-24", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+99:99",
    "2026-01-01T24:00:00Z", "2026-01-01T00:00:00." + "9" * 40 + "Z",
    _in_arabic("2026-11-24T08:00:00Z"),
]  # fmt: skip
NUMBERS = [
    "0", "-0", "-1", "1", "1.0", "1.5", "-1.5", "1e2", "1E+2", "1e-400", "1e308", "1e309", "1e999",
    "-1e999", "2147483647", "2147483648", "2147484.0", "4294967296", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "1" + "0" * 400, "9" * 5000, "0." + "0" * 400,
    "1000000000", "1e10", "1e300", "NaN", "Infinity", "-Infinity", "nan", "+1", "01", "0x10", "1_0",
    ".5", "5.",
]  # fmt: skip
RUBBISH = [
    "null", "true", "false", "[]", "{}", "[null]", '[""]', "[[]]", "[1]", "[true]", '{"":""}',
    '["\\u0000"]', '{"\\u0000":"x"}', '{"a=b":"c"}', '{"a":null}', '{"a":1}', '"\\ud800"',
    '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u00"', '"\\x41"', "'a'", "", ",", "}", "]", '"',
    "/*c*/1", "1 // c", "[1,]", '{"a":1,}', "\x001", '"\t"', "undefined",
]  # fmt: skip
HISTORIES = [
    '[{"attempt":1,"outcome":"ok"}]', '[{"attempt":7,"outcome":"lost"}]',
    '[{"attempt":-1,"outcome":"ok"}]', '[{"attempt":1,"outcome":"exploded"}]',
    '[{"attempt":1,"outcome":"\\u001b[31m"}]', '[{"attempt":1}]', '[{"outcome":"ok"}]', "[{}]",
    '[{"attempt":1,"outcome":"failed","started_at":"garbage","finished_at":"2026-13-99"}]',
    '[{"attempt":1,"outcome":"failed","started_at":"2026-11-24T08:00:00Z","finished_at":"x"}]',
    '[{"attempt":1,"outcome":"failed","started_at":1,"finished_at":true}]',
    '[{"attempt":1,"outcome":"failed","error":"\\u001b]0;t\\u0007","signal":"\\u009b","x":[1e400]}]',
    '[{"attempt":99999999999999999999999,"outcome":"ok","exit_code":99999999999999999999}]',
    '[{"attempt":1,"outcome":"failed","log":"../../etc/passwd","worker":"../../x","host":"\\n"}]',
    "[" + ",".join('{"attempt":1,"outcome":"failed"}' for _ in range(2000)) + "]",
]  # fmt: skip
FIELDS = (
    "id", "command", "priority", "run_at", "max_retries", "timeout", "cwd", "env", "created_at",
    "updated_at", "attempts", "history", "state", "tag", "\u001b[2J", "", "__proto__", "path",
)  # fmt: skip
VALID = {
    "command": '"true"', "id": '"job-1"', "priority": "5", "run_at": '"2026-01-01T00:00:00Z"',
    "max_retries": "0", "timeout": "60", "cwd": '"/"', "env": '{"A":"b"}',
    "created_at": '"2026-01-01T00:00:00Z"', "attempts": "0", "history": "[]",
    "tag": '{"deep":[1.10,"\\u00e9"]}',
}  # fmt: skip


def deep(rng: random.Random) -> str:
    """Return a value that is nested far too deeply, closed or not."""
    depth = rng.choice([10, 100, 500, 900, 1100, 5000, 100_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
    return opening * depth + "1" + closing * rng.choice([depth, depth, depth - 1, depth + 1, 0])


def large(rng: random.Random) -> str:
    """Return a value that is far too long."""
    what: list[Any] = ["x" * length for length in (100_000, 1 << 20, 2 << 20)]
    what += [{f"K{n}": "v" for n in range(10_000)}, ["x"] * 20_000]
    return json.dumps(rng.choice([*what, "\x1b" * 200_000]))  # six times as long in the file


def value(rng: random.Random) -> str:
    """Return the text of a hostile JSON value, sometimes of none."""
    roll = rng.random()
    if roll < 0.35:
        return json.dumps(rng.choice(NASTY_TEXTS), ensure_ascii=rng.random() < 0.5)
    if roll < 0.60:
        return rng.choice(NUMBERS)
    if roll < 0.80:
        return rng.choice(RUBBISH)
    if roll < 0.95:
        return rng.choice(HISTORIES)
    return deep(rng)


def job_text(rng: random.Random, **fixed: str) -> bytes:
    """Return a job file, some of whose fields are hostile; `fixed` fields come last, and win."""
    pairs = [(key, text) for key, text in VALID.items() if key == "command" or rng.random() < 0.4]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        key = rng.choice(FIELDS)
        fitting = HISTORIES if key == "history" and rng.random() < 0.7 else None
        text = rng.choice(fitting) if fitting else value(rng)
        if rng.random() < 0.9:
            pairs = [pair for pair in pairs if pair[0] != key]  # else the key stands twice
        pairs.insert(rng.randrange(len(pairs) + 1), (key, text))
    pairs += fixed.items()
    comma, colon = rng.choice([(",", ":"), (", ", ": "), (",\r\n\t", " :\n")])
    body = comma.join(f"{json.dumps(key)}{colon}{text}" for key, text in pairs)
    return f"{{{body}}}".encode(errors="surrogatepass")


PLAIN = ("{" + ",".join(f'"{key}":{text}' for key, text in VALID.items()) + "}").encode()
DISGUISES = [
    b"", b" ", b"\n", b"\0" * 4096, b"{", b"}", b"[]", b"null", b"\xef\xbb\xbf" + PLAIN,
    PLAIN.decode().encode("utf-16"), PLAIN.decode().encode("utf-16-be"),
    PLAIN.decode().encode("utf-32"), gzip.compress(PLAIN, mtime=0), b"\x1f\x8b\x08",
    PLAIN + b"\0", PLAIN + PLAIN, b"\0" + PLAIN, PLAIN + b"\n\n", PLAIN + b"garbage",
    b'{"command":"\xed\xa0\x80"}', b'{"command":"\xc0\xaf"}', b'{"command":"\xff"}',
    b"#!/bin/sh\ntrue\n", b"\x7fELF\x02\x01\x01", b"command: true\n", b"%PDF-1.7",
]  # fmt: skip


def broken_bytes(rng: random.Random, number: int) -> Iterator[bytes]:
    """Yield files that are broken as disks, networks and editors break them, then random ones."""
    yield from DISGUISES
    yield from (PLAIN[:length] for length in range(len(PLAIN)))
    for place in range(len(PLAIN) * 8):
        flipped = bytearray(PLAIN)
        flipped[place // 8] ^= 1 << place % 8
        yield bytes(flipped)
    for _ in range(number):
        roll = rng.randrange(3)
        if roll == 0:
            yield rng.randbytes(rng.randrange(200))
        else:
            data = bytearray(PLAIN if roll == 1 else job_text(rng)[:5000])
            for _ in range(rng.randint(1, 8)):
                at = rng.randrange(len(data))
                data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
                data = data or bytearray(b"{")
            yield bytes(data)


# -- names ---------------------------------------------------------------------------------

_STEMS = [
    b"job", b"a b", b"..", b"...", b"-rf", b"--help", b"$(touch ran)", b"`id`", b"%s%n", b"a;b",
    b"a\nb", b"\r", b"\x1b[31m", b"\x1b]0;t\x07", b"\xff\xfe", b"\xc2\x9b31m", b"\x9b31m",
    "\u202egnp".encode(), "é".encode(), "日本".encode(), b"..%2f..%2fetc", b"a.1", b"a.2.json",
    b"CON", b"a" * 100, b"a" * 101, b"a" * 230, b"_", b"~", b"*", b"?", b"'", b'"', b"\\", b"a\tb",
    b"a.1.run", b"a.lock", b"{}", b"&&", b"|", b"<x>", b"#", b"!",
]  # fmt: skip


def file_name(rng: random.Random, number: int) -> bytes:
    """Return a name as a job file might have it, none twice."""
    stem = rng.choice(_STEMS)
    if rng.random() < 0.2:
        stem = bytes(rng.choice([*range(1, 47), *range(48, 256)]) for _ in range(rng.randint(1, 9)))
        stem = b"x" + stem  # not hidden: what begins with a dot is no job
    if stem.startswith(b"."):
        stem = b"x" + stem
    return stem + b"%d" % number + b".json"


# -- settings ------------------------------------------------------------------------------

TOML_VALUES = [
    '""', '"x"', "''", '"7d"', '"-1s"', '"1e5"', '"\\u0000"', '"""a\nb"""', "1979-05-27",
    "07:32:00", "1979-05-27T07:32:00Z", "inf", "-inf", "nan", "+nan", "true", "false", "[]", "{}",
    "[[]]", "{a = 1}", "[1, 2]", "0x7f", "0o7", "0b1", "1_000", "1__0", "-0", "-0.0", "+1", "1e3",
    "1e999", "-1e999", "9" * 40, "9" * 4000, "9" * 5000, "-" + "9" * 5000, "0x" + "f" * 9000,
    "[" * 100, "[" * 5000, "[" * 5000 + "]" * 5000, "{a=" * 3000, "1 # c", "1\nformat = 9",
    "1\nx = 1", "", "=", '"unclosed', "\x01", "é", "\ud7ff", '"' + "9" * 400 + 's"',
    '"' + "9" * 400 + '"', _in_arabic("3"), f'"{_in_arabic("3")}s"', '"\x1b[31m"', "1.", ".5",
    "1e", "1e-999", '"1h30m"', '"1 h"', "1000000001", "1e9", "2147484", "1e400", "0.1", "3600",
]  # fmt: skip


def toml_text(rng: random.Random, keys: list[str]) -> bytes:
    """Return what might stand in `queue.toml`."""
    lines = []
    for _ in range(rng.choice([1, 1, 2, 5])):
        key = rng.choice(
            [*keys, *keys, "format", "max_retry", '""', '"a b"', "a.b", "[table]", "[[table]]", "é"]
        )
        if key.startswith("["):
            lines.append(key)
        else:
            lines.append(f"{key} = {rng.choice([*TOML_VALUES, *NUMBERS])}")
    text = bytearray("\n".join(lines).encode(errors="surrogatepass"))
    if rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text[at:at] = rng.choice([b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\xed\xa0\x80", b'"""'])
    return bytes(text)


def word(rng: random.Random) -> str:
    """Return a word as it might stand on a command line; no NUL, which no process can be given."""
    odd = ["\udcff", "a\udc80b", "-", "--", "---", "--json=1", "-x", "--=", "\x1b"]
    rubbish = [
        os.fsdecode(rng.randbytes(rng.randint(1, 12))),
        "".join(rng.choices(string.printable, k=rng.randint(1, 12))),
    ]
    text = rng.choice(rng.choice([NASTY_TEXTS, NASTY_TEXTS, NUMBERS, rubbish, odd]))
    return text.replace("\0", "")


# -- the command, in this process ----------------------------------------------------------


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Hung(BaseException):
    """It did not end."""


def queuectl(*arguments: str, stdin: bytes = b"", seconds: float = 30) -> Said:
    """Run the command line in this process, with streams as a shell would give it.

    Files, not buffers: the command asks for descriptors. Whatever it raises comes through.
    """

    def hung(*_: Any) -> None:
        raise Hung(f"queuectl {arguments!r} does not end")

    streams = sys.stdin, sys.stdout, sys.stderr
    handlers = logging.root.handlers[:]
    before = signal.signal(signal.SIGALRM, hung)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, \
            tempfile.TemporaryFile() as err:  # fmt: skip
        given.write(stdin)
        given.seek(0)
        sys.stdin = io.TextIOWrapper(given, "utf-8", "surrogateescape")
        sys.stdout = io.TextIOWrapper(out, "utf-8", "strict")
        sys.stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace")
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            code = cli.run(list(arguments))
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            wrappers = sys.stdin, sys.stdout, sys.stderr
            sys.stdin, sys.stdout, sys.stderr = streams
            for wrapper in wrappers:
                wrapper.detach()
            logging.root.handlers[:] = handlers  # a worker's log goes to a stream that is gone
        for file in (out, err):
            file.seek(0)
        texts = (file.read().decode(errors="surrogateescape") for file in (out, err))
        return Said(code, *texts)


def raw_controls(text: str) -> str:
    """Return the characters in an output that a terminal would obey, newlines apart."""
    return "".join(sorted({c for c in text if c != "\n" and not c.isprintable()}))
