"""Members for a test, and the curtain.

"Nothing more comes" cannot be awaited, only waited out. But a queue is sent in order of its ids, so we let
the curtain fall instead: the box's prompter, a member nobody knows, posts to those concerned, and what does
not come before his message does not come. Clients take the curtain out of what they get, so no test sees it.
"""

from __future__ import annotations

import itertools

from .box import Box
from .client import Client
from .frames import Frame

_numbers = itertools.count(1)


def fresh(name: str) -> str:
    """A name that nobody has had in this run; 8 octets at least."""
    return f"{name}-{next(_numbers):06}"


def before_curtain(*clients: Client) -> list[list[Frame]]:
    """What each of these, logged in at one box, gets until everything posted so far is through."""
    curtain = fresh("curtain").encode()
    clients[0].box.prompter().post(curtain, list({client.uid: client for client in clients}.values()))
    return [client.before_curtain(curtain) for client in clients]


def settle(*clients: Client) -> None:
    """Let these get, and forget, what is under way."""
    before_curtain(*clients)


def nothing_more_for(*clients: Client) -> None:
    """None of these has got, or will get, anything that the test has not taken."""
    for client, frames in zip(clients, before_curtain(*clients), strict=True):
        assert not frames, f"{client} got {frames}"
        client.assert_no_answers()


class People:
    """Makes members and nodes, and takes their links down when the test is over."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self._clients: list[Client] = []

    def member(self, name: str) -> Client:
        """A fresh member with one node, logged in."""
        client = Client.register(self.box, alias=fresh(name))
        self._clients.append(client)
        return client

    def members(self, *names: str) -> list[Client]:
        return [self.member(name) for name in names]

    def node(self, member: Client, label: str) -> Client:
        """Another node of this member, logged in; then nothing is pending for the member's nodes at hand."""
        node = member.add_node(label)
        self._clients.append(node)
        node.login()
        settle(*(c for c in self._clients if c.uid == member.uid and c.alive))
        return node

    def group(self, *members: Client) -> str:
        """A fresh group in which these have joined; they have nothing pending."""
        gid = fresh("group")
        first, *others = members
        for other in others:
            first.invite(other, gid)
            other.join(gid)
        settle(*members)
        return gid

    def close(self) -> None:
        for client in self._clients:
            client.close()
