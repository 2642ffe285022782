"""The site's name at work, without a network: who is answered, and how often."""

import asyncio
from typing import Any

from appliance.discovery.desk import HEARD_MAX, SILENT_S, Desk
from appliance.discovery.keeper import Willing
from appliance.discovery.shared import SiteName
from appliance.discovery.wording import Plate

OWN = "10.0.0.1"
PEER = Plate("home", "s1tes1te", "bbbbbbbb")
MDNS, PLAIN = ("10.0.0.2", 5353), ("10.0.0.2", 40000)
QUESTION = b"\0\7" + bytes(3) + b"\1" + bytes(6) + b"\4home\5local\0\0\1\0\1"


class Case:
    """A desk that holds the name; it is the library and the socket, too."""

    def __init__(self):
        self.to_all: list[Any] = []
        self.to_one: list[Any] = []
        self.heard: list[str] = []
        self.name = SiteName()
        self.name.vouch(Willing.YES)
        self.desk = Desk(Plate("home", "s1tes1te", "aaaaaaaa"), self.name, self.heard.append)
        this: Any = self
        self.desk._keeper.holder = "aaaaaaaa"
        self.desk.open(this, [OWN], frozenset())
        self.to_all.clear()

    def async_send(self, out):
        self.to_all.append(out)

    def is_closing(self):
        return False

    def sendto(self, packet, address):
        self.to_one.append(address)

    def hear(self, data, address=MDNS):
        transport: Any = self
        self.desk.tap(data, address, transport)


def run(story):
    async def main():
        case = Case()
        try:
            await story(case)
        finally:
            case.desk.close(goodbye=False)

    asyncio.run(main())


def test_everybody_is_answered_once_a_second_and_who_asks_for_itself_each_time():
    async def story(case):
        for _ in range(20):
            case.hear(QUESTION)
        assert (len(case.to_all), case.to_one) == (1, [])
        for _ in range(3):
            case.hear(QUESTION, PLAIN)
            case.hear(QUESTION[:-2] + b"\x80\1")
        assert (len(case.to_all), case.to_one) == (1, [PLAIN, MDNS] * 3)

    run(story)


def test_who_wants_the_name_is_answered_sooner():
    async def story(case):
        [probe] = PEER.question("wants", [], unicast=False).packets()
        for _ in range(8):
            case.hear(probe)
            await asyncio.sleep(0.05)
        assert 1 < len(case.to_all) <= 3

    run(story)


def test_who_has_another_port_than_mdns_says_nothing_about_the_name():
    async def story(case):
        [claim] = Plate("home", "s1tes1te", "00000000").claim([bytes(4)], []).packets()
        case.hear(claim, PLAIN)
        assert case.name.held
        case.hear(claim)
        assert (case.name.held, case.name.holder) == (False, "00000000")

    run(story)


def test_a_box_is_heard_of_after_a_silence_and_what_is_remembered_is_bounded():
    async def story(case):
        [asks] = PEER.question("asks", [], unicast=True).packets()
        for _ in range(3):
            case.hear(asks)
        assert case.heard == ["bbbbbbbb"]
        case.desk._spoke["bbbbbbbb"] -= SILENT_S + 1
        case.hear(asks)
        assert case.heard == ["bbbbbbbb"] * 2
        for number in range(3 * HEARD_MAX):
            [asks] = Plate("home", "s1tes1te", f"{number:08}").question("asks", [], unicast=True).packets()
            case.hear(asks)
        assert len(case.desk._spoke) == HEARD_MAX

    run(story)


def test_the_name_is_given_up_in_a_pause_and_when_nobody_vouches():
    name = SiteName()
    name.vouch(Willing.YES)
    now = name._vouched_at
    assert name.willing(now) is Willing.YES
    assert name.willing(now + 3600) is Willing.NO
    name.pause(60)
    assert name.willing(now) is Willing.NO
    name.pause(0)
    name.ready = False
    name.vouch(Willing.YES)
    assert name.willing(name._vouched_at) is Willing.NO
