"""The words of the `pocket` command, run as a person at the cable types them.

Each is a process of its own, `python -m appliance.cli WORD...`, with no shell between: what it cannot do at
the command line of the box, it cannot do here, and what happens to it does not happen to the box. The data
folder goes into its environment (POCKET_DATA), because not every word takes `--data`. Only words on a list
may be run.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.console.process import Ended, Take, ask, environment, stream

WORDS = (
    "status", "member", "device", "group", "pair", "log", "journal", "config", "panel", "identify", "doctor",
    "find", "peer", "membership", "mail", "backup", "restore", "recovery-key", "update", "factory-reset",
)  # fmt: skip
CONFIRM = ("restore", "recovery-key", "factory-reset", "peer revoke", "membership drop")
COMMAND = (sys.executable, "-m", "appliance.cli")
LIMIT_S = 3600.0
"""`status --watch` is for somebody who looks; nobody looks for longer."""

HELP_S = 20.0
COMPLETE_S = 5.0
LISTED = re.compile(r"^  ([a-z][\w-]*)(?:\s{2,}(\S.*))?$")
OURS = {
    "wifi": "The Wi-Fi networks in reach, and joining one.",
    "exit": "Leave; forgets what was typed.",
}


class NotAWord(Exception):
    """It cannot be run; says why, and what can."""


@dataclass(frozen=True, slots=True)
class Shell:
    """`allowed` words are run, of those the ones in `confirm` only after a question. An entry there may be
    of several words: "device drop".
    """

    data: Path
    allowed: tuple[str, ...] = WORDS
    confirm: tuple[str, ...] = CONFIRM
    command: tuple[str, ...] = COMMAND
    limit_s: float = LIMIT_S

    def parse(self, line: str) -> list[str]:
        """The words of a line, quoted like in a shell. Raises NotAWord for a line that will not be run."""
        try:
            words = shlex.split(line)
        except ValueError:
            raise NotAWord("a quote is not closed") from None
        if words[:1] == ["pocket"]:
            words = words[1:]
        if words and words[0] != "help" and words[0] not in OURS and words[0] not in self.allowed:
            raise NotAWord(f"there is no word {words[0]!r} here: see   help")
        return words

    def must_be_confirmed(self, words: Sequence[str]) -> bool:
        """Whether this can do harm. Options between the words make no difference."""
        plain = [word for word in words if not word.startswith("-")]
        asked_for_help = any(word in ("--help", "-h") for word in words)
        entries = [entry.split() for entry in self.confirm]
        return not asked_for_help and any(plain[: len(entry)] == entry for entry in entries)

    async def run(
        self, words: Sequence[str], take: Take, interrupt: trio.Event, confirmed: bool = False
    ) -> Ended:
        """Run them until they end, `interrupt` is set or `limit_s` has passed. `confirmed` ones find
        POCKET_CONFIRMED=1 in their environment, and need not ask again. Raises OSError.
        """
        more = {"POCKET_CONFIRMED": "1"} if confirmed else {}
        return await stream(
            [*self.command, *words],
            self._environment(**more),
            take,
            limit_s=self.limit_s,
            interrupt=interrupt,
        )

    async def help(self) -> list[tuple[str, str]]:
        """Each word that there is, with what it is for."""
        try:
            answer = await ask([*self.command, "--help"], self._environment(), HELP_S)
        except OSError:
            return [(word, "") for word in (*self.allowed, *OURS)]
        listed: dict[str, str] = {}
        commands = answer.output.partition("Commands:\n")[2]
        for line in commands.splitlines():
            found = LISTED.match(line)
            if found is None:
                if line.strip() and line.startswith("   ") and listed:
                    last = next(reversed(listed))
                    listed[last] = f"{listed[last]} {line.strip()}".strip()
                continue
            listed[found[1]] = found[2] or ""
        return [(word, listed[word]) for word in self.allowed if word in listed] + list(OURS.items())

    async def complete(self, before: str) -> tuple[list[str], int]:
        """What the last word of `before` may become, quoted where needed, and how many characters of
        `before` that replaces. Names of members and devices come from the box.
        """
        words, start = split_open(before)
        if words[:1] == ["pocket"] and len(words) > 1:
            words = words[1:]
        replace = len(before) - start
        if len(words) > 1 and words[0] not in self.allowed:
            return [], replace
        more = {
            "_POCKET_COMPLETE": "bash_complete",
            "COMP_WORDS": shlex.join(["pocket", *words]),
            "COMP_CWORD": str(len(words)),
        }
        try:
            answer = await ask(self.command, self._environment(**more), COMPLETE_S)
        except OSError:
            return [], replace
        found = [line.partition(",")[2] for line in answer.output.splitlines() if line.startswith("plain,")]
        if len(words) == 1:
            found = [word for word in found if word in self.allowed]
            found += [word for word in (*OURS, "help") if word.startswith(words[0])]
        return [shlex.quote(word) for word in found if word.isprintable()], replace

    def _environment(self, **more: str) -> dict[str, str]:
        return environment(POCKET_DATA=str(self.data), PYTHONUNBUFFERED="1", COLUMNS="80", **more)


def split_open(before: str) -> tuple[list[str], int]:
    """The words of an unfinished line, the last one maybe empty or with its quote still open, and where the
    last one begins.
    """
    words, start, quote, escaped = [""], 0, "", False
    for at, char in enumerate(before):
        if escaped:
            escaped = False
            words[-1] += char
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                words[-1] += char
        elif char in "'\"":
            quote = char
        elif char == " ":
            if words[-1] or start < at:
                words.append("")
            start = at + 1
        else:
            words[-1] += char
    return words, start
