"""Counts what the interpreter does, by the parts of the code that it does it in: bytecode instructions, which are the
same for the same work on any machine at any load, and calls into C that are dear."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
ROOMS = ("server", "router", "models")
LIBRARIES = "libraries"
LOOP = ("selectors.py", "threading.py", "queue.py")
OUTSIDE = ""  # what scripts the upstream and asks, and the counting itself
DEAR = {"orjson.loads", "orjson.dumps", "posix.write", "posix.urandom", "_hashlib.openssl_sha256"}


class Work:
    """What was done while it was counted: bytecode instructions by part, and how often each dear call was made."""

    def __init__(self) -> None:
        self.instructions: Counter[str] = Counter()
        self.dear: Counter[str] = Counter()
        self._parts: dict[CodeType, str] = {}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what happens in this thread, and in those that begin, until the block ends."""
        threading.settrace(self._entered)
        sys.setprofile(self._called)
        sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(None)
            sys.setprofile(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def _entered(self, frame: FrameType, _event: str, _arg: object) -> Any:
        code = frame.f_code
        part = self._parts.get(code)
        if part is None:
            part = self._parts[code] = part_of(code.co_filename)
        if part == OUTSIDE:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counts = self.instructions

        def stepped(_frame: FrameType, event: str, _arg: object) -> Any:
            if event == "opcode":
                counts[part] += 1
            return stepped

        return stepped

    def _called(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and self._parts.get(frame.f_code) != OUTSIDE:
            name = f"{arg.__module__}.{arg.__name__}"
            if name in DEAR:
                self.dear[name] += 1


def part_of(filename: str) -> str:
    """Our file, by its path; all libraries are one. Python's own event loop also turns where nothing is to be done."""
    path = Path(filename)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        inner = path.relative_to(ROOT)
        return str(inner) if inner.parts[0] in ROOMS else OUTSIDE
    return OUTSIDE if "asyncio" in path.parts or path.name in LOOP else LIBRARIES
