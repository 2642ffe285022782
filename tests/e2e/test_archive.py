"""What goes through a member's devices is kept if they want that, found again, and taken away as files."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.test_peers import at, in_sync, join
from tests.kit import Box, Client, Frame, People, fresh, pocket

FILM = random.Random(5).randbytes(1_500_000)


def write(
    sender: Client, to: Client, subject: str, body: str, files: Sequence[tuple[str, bytes]] = ()
) -> Frame:
    """A message as a message client writes it."""
    attach = [{"name": f"u:{name}", "size": len(octets)} for name, octets in files]
    head = json.dumps({"threadid": "", "alias": sender.alias, "subject": subject, "attach": attach}).encode()
    data = head + body.encode() + b"".join(octets for _, octets in files)
    ack = sender.post(data, to, datahead=len(head))
    to.expect("delivery", id=ack["msgid"], from_=sender, datahead=len(head), data=data)
    return ack


def found(box: Box, member: Client, *words: str) -> list[Any]:
    result = json.loads(pocket(box, "mail", "search", member.alias, *words, "--json"))
    assert result["indexed"]
    return list(result["found"])


def test_messages_are_kept_found_exported_and_forgotten(box: Box, people: People, tmp_path: Path) -> None:
    ann, bob = people.members("ann", "bob")
    write(bob, ann, "before", "never kept")
    pocket(box, "mail", "archive", ann.alias, "on")
    ack = write(
        bob, ann, "Summer camp", "The *plan* is attached", [("plan.bin", FILM), ("list.txt", b"tent")]
    )
    write(ann, bob, "Re: Summer camp", "Thanks for the plan")

    assert [hit["subject"] for hit in found(box, ann, "plan")] == ["Re: Summer camp", "Summer camp"]
    [hit] = found(box, ann, "has:attachment", f"from:{bob.alias}", "summer camp")
    assert hit["id"] == ack["msgid"] and hit["attachments"] == 2
    assert found(box, ann, "never") == []
    assert "The *plan* is attached" in pocket(box, "mail", "show", ann.alias, hit["msgid"])

    folder = tmp_path / "ann"
    pocket(box, "mail", "export", ann.alias, "--to", str(folder))
    first, second = map(json.loads, (folder / "messages" / "000001.jsonl").read_text().splitlines())
    assert (first["subject"], second["body"]) == ("Summer camp", "Thanks for the plan")
    assert [(folder / a["file"]).read_bytes() for a in first["attachments"]] == [FILM, b"tent"]

    pocket(box, "mail", "archive", ann.alias, "off", "--yes")
    assert found(box, ann, "plan") == []
    assert "not kept" in pocket(box, "mail", "show", ann.alias)


def test_what_was_kept_is_there_after_a_kill_and_without_the_index(new_box: Callable[..., Box]) -> None:
    box = new_box()
    ann, bob = (Client.register(box, alias=fresh(name)) for name in ("ann", "bob"))
    pocket(box, "mail", "archive", ann.alias, "on")
    write(bob, ann, "one", "a word")
    assert [hit["subject"] for hit in found(box, ann, "word")] == ["one"]
    write(bob, ann, "two", "a word")
    box.kill9()
    (box.data / "mail.db").write_bytes(b"what a dying card makes of it")
    box.start()
    assert [hit["subject"] for hit in found(box, ann, "word")] == ["two", "one"]


def test_every_box_finds_what_any_of_them_has_kept(new_box: Callable[..., Box], tmp_path: Path) -> None:
    box, other = new_box(), new_box()
    ann, bob = (Client.register(box, alias=fresh(name)) for name in ("ann", "bob"))
    pocket(box, "mail", "archive", ann.alias, "on")
    write(bob, ann, "here", "a word before the other came", [("plan.bin", FILM)])
    join(other, box)
    write(bob, ann, "there", "a word since", [("list.txt", b"tent")])
    in_sync(box, other)
    bob.close()
    bob = at(other, bob)
    bob.login()
    write(bob, ann, "back", "a word from there")
    in_sync(box, other)
    for each in (box, other):
        assert [hit["subject"] for hit in found(each, ann, "word")] == ["back", "there", "here"]
    whole = tmp_path / "ann"
    pocket(other, "mail", "export", ann.alias, "--to", str(whole))
    lines = [json.loads(line) for line in (whole / "messages" / "000001.jsonl").read_text().splitlines()]
    assert sorted(line["subject"] for line in lines) == ["back", "here", "there"]
    files = {a["name"]: (whole / a["file"]).read_bytes() for line in lines for a in line["attachments"]}
    assert files == {"plan.bin": FILM, "list.txt": b"tent"}
    assert json.loads(pocket(box, "mail", "export", ann.alias, "--to", str(whole), "--json"))["messages"] == 3
