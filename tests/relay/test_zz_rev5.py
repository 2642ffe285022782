from tests.relay.test_boxes import *
from tests.kit.upstream import Cut
import trio
def test_cut(tmp_path, monkeypatch):
  with Upstream("The club") as club:
    async def body():
        async with household(tmp_path, retry_s=1.0, retry_longest_s=5.0, keeper_wait_s=3.0) as (one, two, _):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            await trio.sleep(3)
            bob = club.member("Bob at the club")
            rule = club.on("taken", Cut(), op="Post")
            item = await phone.post(b"hello", bob.uid)
            await one.outcome(item, 30)
            await trio.sleep(4)
            print("POSTS", club.asked("Post"), [m.body.octets for m in club.waiting(bob)])
            assert club.asked("Post") == 1
    run(body)
