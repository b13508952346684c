"""What a container is made of, as far as Linux has it without a container runtime: a root filesystem of its own that
cannot be written, for a user without a name. In place of the base images stand this machine's /usr and this Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pip
from fakes.dockerfile import Line, Stage, environment_of, lineage, stages_of

COMPILED = shutil.ignore_patterns("__pycache__")
USER = 10001
IS_ROOT = os.geteuid() == 0
PYTHON = Path(sys._base_executable)  # type: ignore[attr-defined]
PASSED = ("PIP_", "SSL_", "HTTP_", "HTTPS_", "NO_", "http_", "https_", "no_", "REQUESTS_")
COPIED = ("resolv.conf", "hosts", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "pip.conf", "xdg/pip")
BIND = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
for one in /proc /dev; do mount --rbind "$one" "$ROOT$one"; done
for one in $SEEN; do mount --bind "$one" "$ROOT$one"; mount -o remount,bind,ro "$ROOT$one"; done
if [ -n "$READ_ONLY" ]; then mount -o remount,bind,ro "$ROOT"; mount -t tmpfs tmpfs "$ROOT/tmp"; fi
for one in $WRITABLE; do mount --bind "${one%%:*}" "$ROOT${one#*:}"; done
cd "$ROOT"
exec $BECOME chroot . /base/bin/python /base/enter.py "$WHERE" "$@"
"""
ENTER = """
import os, sys
os.chdir(sys.argv[1])
{become}
os.execvpe(sys.argv[2], sys.argv[2:], os.environ)
"""
BECOME = f"os.setgroups([]); os.setresgid({USER}, {USER}, {USER}); os.setresuid({USER}, {USER}, {USER})"


class Box:
    """A folder that is some stage's root filesystem."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def empty(cls, root: Path) -> "Box":
        """As a base image with Python would be, and pip with it."""
        for folder in ("usr", "proc", "dev", "tmp", "etc", "base/bin", "base/packages"):
            (root / folder).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        for name in ("bin", "lib", "lib64", "sbin"):
            if Path("/", name).is_symlink():
                (root / name).symlink_to(Path("/", name).readlink())
        for name in COPIED:
            copy_of(Path("/etc", name), root / "etc" / name)
        for name in ("python", "python3"):
            (root / "base/bin" / name).symlink_to(PYTHON)
        shutil.copytree(Path(pip.__file__).parent, root / "base/packages/pip", ignore=COMPILED)
        (root / "base/enter.py").write_text(ENTER.format(become=BECOME if IS_ROOT else ""))
        return cls(root)

    def command(
        self, command: Sequence[str], *, where: str, environment: Mapping[str, str], mounted: Mapping[Path, str] | None
    ) -> tuple[list[str], dict[str, str]]:
        """What to start, and its environment. With `mounted`, the root cannot be written, but for /tmp, which is new,
        and these folders of ours at those places."""
        seen = ["/usr", "/etc/ssl", str(PYTHON.parents[1])]
        for place in [*seen, *(mounted or {}).values()]:
            (self.root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        asking = ["unshare", "--mount"] if IS_ROOT else ["unshare", "--user", "--map-root-user", "--mount"]
        box = {
            "ROOT": str(self.root), "SEEN": " ".join(place for place in seen if not place.startswith("/usr/")),
            "READ_ONLY": "" if mounted is None else "1", "WHERE": where, "BECOME": "",
            "WRITABLE": " ".join(f"{ours}:{place}" for ours, place in (mounted or {}).items()),
        }  # fmt: skip
        inner = [f"{name}={value}" for name, value in environment.items()]
        inside = ["/usr/bin/env", "-i", *inner, *command]
        return [*asking, "sh", "-c", BIND, "sh", *inside], {"PATH": os.environ["PATH"], **box}

    def run(self, command: Sequence[str], *, where: str, environment: Mapping[str, str]) -> str:
        """What the command prints, run to its end in a box that can be written. An AssertionError where it fails."""
        asked, box = self.command(command, where=where, environment=environment, mounted=None)
        ended = subprocess.run(asked, env=box, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
        assert ended.returncode == 0, f"{command}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        return ended.stdout


def copy_of(source: Path, target: Path) -> None:
    """A copy of a file or folder, if there is such a thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy(source, target)


def own(folder: Path, user: int) -> None:
    """Give a folder and what is in it to somebody, where we may."""
    if IS_ROOT:
        subprocess.run(["/bin/chown", "-R", f"{user}:{user}", str(folder)], check=True)  # noqa: S603


class Builder:
    """Carries out a Dockerfile's lines in boxes. Each stage's are run by the nameless user, in folders of its own."""

    def __init__(self, file: Path, context: Path, work: Path) -> None:
        self.stages = stages_of(file)
        self._context = context
        self._work = work
        self._built: dict[str, Box] = {}

    def stage(self, name: str) -> Box:
        """The stage, built; of those that it begins from only once."""
        if name not in self._built:
            self._built[name] = self._build(lineage(self.stages, name))
        return self._built[name]

    def environment(self, name: str) -> dict[str, str]:
        """What the stage's commands get."""
        return environment_of(lineage(self.stages, name), {"PATH": "/base/bin:/usr/bin:/bin"})

    def _build(self, line_up: list[Stage]) -> Box:
        stage = line_up[-1]
        root = self._work / stage.name
        if len(line_up) > 1:
            shutil.copytree(self.stage(line_up[-2].name).root, root, symlinks=True)
            box = Box(root)
        else:
            box = Box.empty(root)
        given = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
        environment = {**given, **self.environment(stage.name), "PYTHONPATH": "/base/packages"}
        where = "/"
        for line in stage.lines:
            if line.word == "WORKDIR":
                where = line.rest
                (root / where.lstrip("/")).mkdir(parents=True, exist_ok=True)
            if line.word == "COPY":
                self._copy(line, root, where)
            if line.word == "RUN":
                for folder in ("src", "opt", "venv"):
                    (root / folder).mkdir(exist_ok=True)
                    own(root / folder, USER)
                box.run(line.command, where=where, environment=environment)
        own(root, 0)
        return box

    def _copy(self, line: Line, root: Path, where: str) -> None:
        options = dict(word[2:].split("=") for word in line.words if word.startswith("--"))
        *sources, target = [word for word in line.words if not word.startswith("--")]
        origin = self.stage(options["from"]).root if "from" in options else self._context
        to = root / os.path.normpath(Path(where, target)).lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        copy = os.link if "from" in options else shutil.copy2
        for source in sources:
            found = origin / source.lstrip("/")
            if found.is_dir():
                ignore = None if "from" in options else COMPILED
                shutil.copytree(found, to, symlinks=True, dirs_exist_ok=True, ignore=ignore, copy_function=copy)
            else:
                shutil.copy(found, to / found.name if target.endswith("/") else to)
        own(to, int(options.get("chown", "0:0").partition(":")[0]))
