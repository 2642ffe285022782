"""Runs the steps: what has been done with the same inputs is taken from the cache, a build that was
interrupted goes on.

Results lie in FOLDER/cache/STEP-KEY, the key being a hash of everything that the step's result depends on.
A step works in a folder of another name, which gets its own when the step has ended well.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .board import HERE, Board, board, layout
from .errors import ImageError
from .mirror import mirrors
from .steps import STEPS, Step

REPO = HERE.parent
ARCHITECTURE_OF = {"x86_64": "amd64", "aarch64": "arm64"}
LIBRARY = re.compile(r"\$IMAGE/(lib/[\w.-]+)")
"""What of lib/ a script names, it depends on."""
TOLD_LINES = 25
"""How many of its last lines are shown of a step that failed."""


def folder() -> Path:
    """Where builds lie: BUILD, or build/image in this repository, which git ignores."""
    return Path(os.environ.get("BUILD") or REPO / "build" / "image").absolute()


def keys_folder() -> Path:
    """Where the builder's signing key lies: KEYS, or in the configuration of the user, so that `make
    clean` keeps it."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get("KEYS") or config / "pocket-image").absolute()


def version() -> str:
    """The version of the image: VERSION, or that of the package."""
    if given := os.environ.get("VERSION", ""):
        return given
    told: dict[str, str] = {}
    exec((REPO / "appliance" / "version.py").read_text(), told)
    return told["__version__"]


def epoch() -> str:
    """The time that everything in the image bears, in seconds since 1970: SOURCE_DATE_EPOCH, or that of
    the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH", ""):
        return given
    told = subprocess.run(
        ["git", "-c", f"safe.directory={REPO}", "log", "-1", "--format=%ct"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise ImageError(
            "this folder is no git checkout: give the time of the sources, as in SOURCE_DATE_EPOCH=1764000000"
        )
    return told.stdout.strip()


def settings(machine: Board) -> dict[str, str]:
    """What steps can depend on, by name."""
    sizes = {part.content: part for part in layout(machine.layout) if part.content}
    return {
        "HOST_ARCH": ARCHITECTURE_OF.get(platform.machine(), platform.machine()),
        "BOARD": machine.name,
        "ARCH": machine.arch,
        "DEBS": " ".join(machine.debs),
        "LOADER": machine.loader,
        "CMDLINE": machine.cmdline,
        "LAYOUT": str(HERE / "layouts" / f"{machine.layout}.toml"),
        "VERSION": version(),
        "SOURCE_DATE_EPOCH": epoch(),
        "BOOT_MIB": str(sizes["boot"].size_mib),
        "DATA_MIB": str(sizes["data"].size_mib),
        "DATA_UUID": sizes["data"].uuid,
    }


@dataclass
class Build:
    """One build of one board."""

    machine: Board
    settings: dict[str, str]
    place: Path
    keys: dict[str, str] = field(default_factory=dict)
    """The key of each step, in order."""

    def __post_init__(self) -> None:
        self._hash()

    def _hash(self) -> None:
        public = keys_folder() / "public.gpg"
        self.settings["KEY"] = hashlib.sha256(public.read_bytes()).hexdigest() if public.exists() else ""
        for step in STEPS:
            self.keys[step.name] = self._key(step)

    def result(self, name: str) -> Path:
        """The folder of a step's results."""
        return self.place / "cache" / f"{name}-{self.keys[name]}"

    def last(self, name: str) -> Path:
        """The folder of a step's results in the last build of this board, whatever has changed since.
        ImageError if there was none."""
        used = self.place / "used" / self.machine.name
        for entry in used.read_text().split() if used.exists() else []:
            if entry.rsplit("-", 1)[0] == name and (self.place / "cache" / entry).exists():
                return self.place / "cache" / entry
        raise ImageError(f"there is no image yet: make image BOARD={self.machine.name}")

    def files(self, step: Step) -> list[Path]:
        """All files that the step reads, sorted; a name that is not there counts as empty."""
        script = f"image/steps/{step.name}.sh"
        names = [
            script,
            *(f"image/{name}" for name in LIBRARY.findall((REPO / script).read_text())),
            *step.files,
        ]
        if "LAYOUT" in step.settings:
            names.append(os.path.relpath(self.settings["LAYOUT"], REPO))
        found: set[Path] = set()
        for name in names:
            path = REPO / name.replace("@BOARD", self.machine.name).replace("@LOADER", self.machine.loader)
            if path.is_dir():
                found.update(p for p in path.rglob("*") if not p.is_dir() and "__pycache__" not in p.parts)
            elif path.exists():
                found.add(path)
        return sorted(found)

    def _key(self, step: Step) -> str:
        told = hashlib.sha256()
        for path in self.files(step):
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            mode = 0 if path.is_symlink() else path.stat().st_mode & 0o111
            told.update(f"{path.relative_to(REPO)} {mode} {len(content)}\n".encode() + content)
        for name in step.settings:
            told.update(f"{name}={self.settings[name]}\n".encode())
        for name in step.after:
            told.update(f"{name} {self.keys[name]}\n".encode())
        return told.hexdigest()[:16]

    def forget(self) -> None:
        """Remove all results of this build but the tools, so that it takes the packages of today."""
        for step in STEPS:
            if step.name != "tools":
                remove(self.result(step.name))

    def run(self) -> None:
        """Do all steps that have not been done. ImageError if one fails, or cannot be done here."""
        open_steps = [step for step in STEPS if not self.result(step.name).exists()]
        if os.geteuid() and (needing := [step.name for step in open_steps if step.root]):
            raise ImageError(
                f"the steps {', '.join(needing)} make files of several owners, which only root can: "
                f"sudo make image BOARD={self.machine.name}"
            )
        self.place.mkdir(parents=True, exist_ok=True)
        with (self.place / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another build is at work in {self.place}: waiting for it", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._run()

    def _run(self) -> None:
        began = time.monotonic()
        for number, step in enumerate(STEPS, 1):
            head = f"[{number:2}/{len(STEPS)}] {step.name:7} {step.says}"
            if self.result(step.name).exists():
                print(f"{head}: as before", flush=True)
                continue
            if "KEY" in step.settings and not self.settings["KEY"]:
                self._make_key()
            with ticking(head):
                self._do(step)
        self._forget_older()
        out = self.place / "out" / self.machine.name
        out.parent.mkdir(exist_ok=True)
        out.unlink(missing_ok=True)
        out.symlink_to(os.path.relpath(self.result(STEPS[-1].name), out.parent))
        print(f"{out}/:", *sorted(path.name for path in out.iterdir()), sep="\n  ")
        print(
            f"{self.machine.name} {self.settings['VERSION']} took {time.monotonic() - began:.0f} s",
            flush=True,
        )

    def _make_key(self) -> None:
        """The builder's signing key: made once, and from then on part of what images depend on."""
        command = self.in_tools([f"KEYS={keys_folder()}", str(HERE / "lib" / "key.sh")])
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
            raise ImageError("the signing key could not be made")
        print(
            f"made the key that signs your images, in {keys_folder()}: keep it, "
            "boxes take updates from nobody else"
        )
        self._hash()

    def _do(self, step: Step) -> None:
        target = self.result(step.name)
        work = target.with_name(target.name + ".work")
        remove(work)
        work.mkdir(parents=True)
        log = self.place / "log" / f"{self.machine.name}-{step.name}.log"
        log.parent.mkdir(exist_ok=True)
        mirror, security = mirrors() if step.name in ("tools", "base", "debs") else ("", "")
        environment = {
            "IMAGE": str(HERE),
            "REPO": str(REPO),
            "OUT": str(work),
            "KEYS": str(keys_folder()),
            "PYTHON": sys.executable,
            "MIRROR": mirror,
            "SECURITY_MIRROR": security,
            **{name: self.settings[name] for name in ("BOARD", "ARCH", "VERSION", *step.settings)},
            **{name.upper(): str(self.result(name)) for name in step.after},
        }
        script = [str(HERE / "steps" / f"{step.name}.sh")]
        with log.open("wb") as output:
            if step.tools:
                command = self.in_tools([*(f"{k}={v}" for k, v in environment.items()), *script])
                ended = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
                )
            else:
                ended = subprocess.run(
                    script,
                    env={**os.environ, **environment},
                    cwd=REPO,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    check=False,
                )
        if ended.returncode:
            last = log.read_text(errors="replace").splitlines()[-TOLD_LINES:]
            raise ImageError("\n".join([*last, f"the step {step.name} failed; all it said is in {log}"]))
        work.rename(target)

    def _tools(self) -> Path:
        return self.result("tools") if self.result("tools").exists() else self.last("tools")

    def in_tools(self, words: list[str], *folders: Path) -> list[str]:
        """The command that runs `words` (as for env: settings, then a command) in the tools folder.
        ImageError for anybody but root."""
        need_root("make ...")
        shared = {REPO, self.place, keys_folder(), *folders}
        keys_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        return [
            *(str(HERE / "lib" / "tools-chroot.sh"), str(self._tools() / "root")),
            *map(str, sorted(shared)),
            *("--", "env", "-i", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"),
            *("DEBIAN_FRONTEND=noninteractive", f"TERM={os.environ.get('TERM', 'dumb')}", *words),
        ]

    def _forget_older(self) -> None:
        """Remove what the cache has of this board's earlier builds; what other boards built last stays."""
        used = self.place / "used"
        used.mkdir(exist_ok=True)
        mine = [self.result(step.name).name for step in STEPS]
        (used / self.machine.name).write_text("\n".join(mine) + "\n")
        wanted = {name for file in used.iterdir() for name in file.read_text().split()}
        for path in (self.place / "cache").iterdir():
            if path.name not in wanted:
                remove(path)


def need_root(command: str) -> None:
    """ImageError with what to type, if the user is not root: what runs in the tools folder uses mounts of its
    own."""
    if os.geteuid():
        raise ImageError(f"only root can do this, since it uses mounts of its own: sudo {command}")


def remove(path: Path) -> None:
    """Remove a folder or a file, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def ticking(head: str) -> Iterator[None]:
    """Tell that something has begun, how long it has been going on (in a terminal), and how long it took."""
    live, began, over = sys.stdout.isatty(), time.monotonic(), threading.Event()
    print(f"{head} ...", end="" if live else "\n", flush=True)

    def tick() -> None:
        while not over.wait(1):
            print(f"\r{head} ... {time.monotonic() - began:.0f} s", end="", flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    if live:
        ticker.start()
    word = "failed after"
    try:
        yield
        word = "took"
    finally:
        over.set()
        start = "\r" if live else ""
        print(f"{start}{head}: {word} {time.monotonic() - began:.1f} s", flush=True)


def build_of(name: str) -> Build:
    """The build of that board, with the settings of the environment."""
    machine = board(name)
    return Build(machine, settings(machine), folder())
