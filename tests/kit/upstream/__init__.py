"""A TMTP site of another make, to be a member of: the relay's other end, in tests.

It behaves like the deployed peers (TMTP revision 1, what is marked "peer" there): one message in flight per
node, a request sent again is a new request, 30 s until a message comes again, `node already connected`, no
word on link errors, 5 s for a login. It writes down every frame, and a test can make it do wrong at any step.

    with Upstream("The club") as club:
        rule = club.on("taken", Cut(), op="Post")      # cut the link before the next post is acknowledged
        ...
        assert rule.wait() and club.asked("Post") == 2

`site.py` is the thread with the port; `link.py` one client's link; `accounts.py` members and their queues;
`answering.py` what each request does; `script.py` how to misbehave; `record.py` what was said. Octets that no
proper site would send are in `hostile.py`.
"""

from .accounts import Body, Member, Message, Node
from .record import Entry, Record
from .script import Cut, Deaf, Delay, Endless, Hold, Ignore, Refuse, Rule, Say
from .site import Upstream

__all__ = [
    "Body",
    "Cut",
    "Deaf",
    "Delay",
    "Endless",
    "Entry",
    "Hold",
    "Ignore",
    "Member",
    "Message",
    "Node",
    "Record",
    "Refuse",
    "Rule",
    "Say",
    "Upstream",
]
