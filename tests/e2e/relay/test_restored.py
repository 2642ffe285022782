"""A box that keeps a membership is lost; the one that is restored from its backup goes on with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from appliance import wire
from tests.kit import Box, Client
from tests.kit.plug import Plug

from .house import CONFIG, House, pocket, until


def test_a_restored_box_sends_what_waited_and_gets_what_comes(
    new_house: Callable[..., House], far: Box, tmp_path: Path
) -> None:
    backup = f'\n[backup]\nfolder = "{tmp_path}"\nsearch = []\n'
    house = new_house(config=CONFIG + backup)
    house.box.control("recovery.show")
    with Plug(far.address) as plug:
        ann = house.add(house.member(), far, "club", "Ann at the club", plug.words)
        laptop, phone = ann.devices("laptop", "phone")
        bob = Client.register(far, alias="Bob at the club")
        phone.close()
        bob.post(b"before", ann.uid)
        assert laptop.find("delivery", from_=bob).data == b"before"
        plug.pull()
        until(lambda: ann.show()["state"] != "online", "the box notices")
        laptop.send(wire.Post("waits", [wire.Target(bob.uid, 1)], 9), b"it waited")
        until(lambda: ann.show()["outbox"] == 1, "the request waits")
        key = house.box.control("recovery.show")["key"]
        pocket(house.box, "backup", "make")
        old = house.box
        old.kill9()
        new = house.also(Box(name="blank", config=CONFIG, listen=f"127.0.0.1:{old.address[1]}"))
        box = new.control("restore", folder=str(tmp_path), key=key)["box"]
        until(lambda: new.control("status")["box"] == box, "it is restored")
        new.name, new.fingerprint = old.name, old.fingerprint
        plug.put_back()
        ann.is_online()
        assert bob.find("delivery", from_=ann.uid).data == b"it waited"
        again = ann.at(phone, 0)
        again.login()
        assert again.find("delivery", from_=bob).data == b"before"
        bob.post(b"after", ann.uid)
        assert again.find("delivery", from_=bob).data == b"after"
        until(lambda: ann.show()["outbox"] == 0, "nothing waits")
        bob.expect_nothing(0.5)
        again.close()
