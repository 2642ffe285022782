"""How a link to a site is kept, and what happens when it cannot be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from appliance import wire
from appliance.relay import EnrolmentFailed, membership, relay
from appliance.site import drop_membership, set_membership
from tests.kit.plug import Plug
from tests.kit.upstream import Delay, Refuse, Say, Upstream
from tests.relay.house import house, until
from tests.store.kit import run


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The <club>") as site:
        yield site


def test_a_membership_knows_the_site_and_its_certificate_and_nobody_can_read_its_password(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club, alias="Ann at the club")
            ann = home.store.site.memberships[number]
            assert ann.fields["site"] == "The <club>"
            assert ann.fields["pin"] == club.fingerprint.replace(":", "")
            assert (ann.fields["alias"], ann.fields["trouble"]) == ("Ann at the club", "")
            there = club.accounts.members[ann.uid]
            assert there.aliases == ["Ann at the club"] and there.nodes[0].label == "pocket-kitchen"
            assert there.nodes[0].password.encode() not in b"".join(ann.credentials.values())
            secrets.append(there.nodes[0].password.encode())

    secrets: list[bytes] = []
    run(body)
    assert not any(secrets[0] in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_alias_that_is_taken_leaves_the_account_and_is_told(club: Upstream, tmp_path: Path):
    club.member("Bob at the club")

    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club, alias="Bob at the club")
            fields = home.store.site.memberships[number].fields
            assert fields["alias"] == "" and "nobody else's" in fields["trouble"]
            await home.online(number)

    run(body)


def test_an_account_of_another_device_is_taken_over(club: Upstream, tmp_path: Path):
    ann = club.member("Ann at the club", "laptop", "box")

    async def body():
        async with house(tmp_path) as home:
            wanted = home.relay.adopt(
                home.member, "club", club.words, ann.uid, f" {ann.nodes[1].password}\n", "Ann at the club"
            )
            number = await wanted
            await home.online(number)
            assert home.uid(number) == ann.uid
            for uid, node, why in (
                (ann.uid, ann.nodes[0].password[:-1], "missing"),
                (ann.uid, "a" * 40, "copied wrongly"),
                (ann.uid, wire.b32encode(bytes(25)), "login failed"),
                (ann.uid, ann.nodes[1].password, "logged in there now"),
            ):
                with pytest.raises(EnrolmentFailed, match=why):
                    await home.relay.adopt(home.member, "other", club.words, uid, node)
            with pytest.raises(EnrolmentFailed, match="already: give another"):
                await home.relay.adopt(home.member, "club", club.words, ann.uid, ann.nodes[0].password)

    run(body)


def test_what_goes_wrong_at_a_registration_is_told(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            club.on("register", Refuse("register failure: closed"))
            with pytest.raises(EnrolmentFailed, match=r"closed; registration may be closed there"):
                await home.membership("club", club)
            club.on("connect", Say(b"HTTP/1.0 400 Bad Request\r\n\r\n", cut=True))
            with pytest.raises(EnrolmentFailed, match="does not speak TLS"):
                await home.membership("club", club)
            unreachable = r"^=127\.0\.0\.1:1 cannot be reached: Connection refused; is it on"
            with pytest.raises(EnrolmentFailed, match=unreachable):
                await home.relay.add(home.member, "club", "=127.0.0.1:1")
            with pytest.raises(EnrolmentFailed, match="no address"):
                await home.relay.add(home.member, "club", "127.0.0.1:1")
            with pytest.raises(EnrolmentFailed, match="no authority"):
                await home.relay.add(home.member, "club", f"+127.0.0.1:{club.address[1]}")
            assert not home.store.site.memberships and not club.accounts.members

    run(body)


def test_a_site_that_wants_a_login_provider_says_which(club: Upstream, tmp_path: Path):
    club.auth, club.authby = 1, [{"label": "The school", "login": ["https://x", {}], "token": ["y", {}]}]

    async def body():
        async with house(tmp_path) as home:
            greeting = await home.relay.look(club.words)
            assert (greeting.site, greeting.auth) == ("The <club>", 1)
            assert greeting.authby[0]["login"][0] == "https://x"
            with pytest.raises(EnrolmentFailed, match="The school"):
                await home.membership("club", club)
            number = await home.membership("club", club, oidc={"id_token": "x"})
            await home.online(number)

    run(body)


def test_another_certificate_is_an_alarm_until_a_person_says_that_it_is_right(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            await home.online(number)
            logins = club.asked("Login")
            club.renew_certificate()
            club.cut()
            await until(lambda: home.relay.state(number)["halted"])
            await until(lambda: home.warnings)
            state = home.relay.state(number)
            new = club.fingerprint.replace(":", "")
            assert state["offered_pin"] == new and state["next_try_s"] is None
            assert "certificate" in next(iter(home.warnings.values()))
            await until(lambda: home.store.site.memberships[number].fields.get("halted"))
        async with house(tmp_path) as home:
            await until(lambda: home.relay.state(number).get("halted"))
            assert club.asked("Login") == logins
            await home.relay.resume(number, pin=new.upper())
            await home.online(number)
            assert not home.warnings and home.store.site.memberships[number].fields["pin"] == new

    run(body)


def test_a_membership_without_a_pin_trusts_the_next_certificate_and_then_only_that(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            await home.online(number)
            await home.store.perform(lambda scene: set_membership(scene, number, pin=""))
            club.cut()
            pin = club.fingerprint.replace(":", "")
            await until(lambda: home.store.site.memberships[number].fields["pin"] == pin)

    run(body)


def test_a_refused_login_is_tried_three_times(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            await home.online(number)
            rule = club.on("login", Refuse("login failed"), times=None)
            club.cut()
            await until(lambda: home.relay.state(number)["halted"])
            assert rule.hits == 3 and "login failed" in home.relay.state(number)["halted"]
            club.behave()
            await home.relay.resume(number)
            await home.online(number)

    run(body)


def test_a_site_that_takes_the_box_for_logged_in_is_asked_again(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("appliance.relay.care.BUSY_S", 0.1)

    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            await home.online(number)
            club.lingers_s = 0.5
            club.cut()
            await until(lambda: club.record.find("quit"))
            await home.online(number)
            assert not home.relay.state(number)["halted"]

    run(body)


def test_a_site_that_does_not_answer_is_given_up_in_time(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path, changes={"login_timeout_s": 0.3}) as home:
            number = await home.membership("club", club)
            await home.online(number)
            club.on("login", Delay(5))
            club.cut()
            await until(lambda: "did not answer the login" in home.relay.state(number)["last_error"])
            await home.online(number)

    run(body)


def test_a_link_is_made_again_when_the_network_is_back(club: Upstream, tmp_path: Path):
    async def body():
        with Plug(club.address) as plug:
            async with house(tmp_path) as home:
                number = await home.relay.add(home.member, "club", plug.words)
                phone = await home.device(number)
                bob = club.member("Bob at the club")
                ann = club.accounts.members[home.uid(number)]
                await home.online(number)
                plug.pull()
                await until(lambda: not home.relay.state(number)["online"])
                club.post(bob, [ann], b"there")
                item = await phone.post(b"here", bob.uid)
                plug.put_back()
                await home.outcome(item)
                (frame,) = await phone.got(1)
                assert frame.data == b"there"
                assert [message.body.octets for message in club.waiting(bob)] == [b"here"]

    run(body)


def test_a_pulse_keeps_a_silent_link_alive(club: Upstream, tmp_path: Path):
    club.idle_timeout_s = 0.6

    async def body():
        async with house(tmp_path, changes={"pulse_s": 0.2}) as home:
            number = await home.membership("club", club)
            await home.online(number)
            await until(lambda: club.asked("Pulse"))
            logins = club.asked("Login")
            await until(lambda: club.asked("Pulse") >= 6)
            assert club.asked("Login") == logins

    run(body)


def test_a_metered_membership_drains_sends_and_leaves(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, bob = await home.device(number), club.member("Bob at the club")
            ann = club.accounts.members[home.uid(number)]
            await home.store.perform(lambda scene: set_membership(scene, number, metered_min="60"))
            await until(lambda: (home.relay.state(number).get("next_try_s") or 0) > 100, 20)
            assert 50 * 60 < home.relay.state(number)["next_try_s"] < 70 * 60
            club.post(bob, [ann], *(b"%d" % n for n in range(20)))
            item = await phone.post(b"hello", bob.uid)
            await home.relay.resume(number)
            await phone.got(20)
            await home.outcome(item)
            await until(lambda: not home.relay.state(number)["online"], 20)
            assert not club.waiting(ann)

    run(body)


def test_a_dropped_membership_leaves_the_site(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number, other = await home.membership("club", club), await home.membership("other", club)
            await home.online(number)
            await home.online(other)
            uid = home.uid(number)
            await home.store.perform(lambda scene: drop_membership(scene, number))
            await until(lambda: not club.linked(uid))
            assert home.relay.state(other)["online"] and home.relay.state(number) == {"online": False}

    run(body)


def test_a_membership_that_is_dropped_while_its_link_is_busy_is_no_error(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    log = SimpleNamespace(info=lambda *_, **__: None, exception=lambda text, **_: told.append(text))
    monkeypatch.setattr(membership, "log", log)

    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            await home.online(number)
            monkeypatch.setattr(relay, "LOOK_S", 60.0)
            await trio.sleep(0.6)
            uid = home.uid(number)
            await home.store.perform(lambda scene: drop_membership(scene, number))
            await until(lambda: not club.linked(uid))
            await until(lambda: home.relay.state(number) == {"online": False})
            assert not told and not home.warnings

    run(body)


def test_the_pin_is_the_hash_of_the_certificate(club: Upstream):
    import ssl

    shown = ssl.get_server_certificate(club.address)
    der = ssl.PEM_cert_to_DER_cert(shown)
    assert hashlib.sha256(der).hexdigest() == club.fingerprint.replace(":", "")
