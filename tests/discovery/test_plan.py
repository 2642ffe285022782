"""Which interfaces are used and which addresses are told; and the kernel's word, whatever it is."""

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.discovery import netlink
from appliance.discovery.netlink import Address, Link, Network, addresses_in, links_in, read_network
from appliance.discovery.plan import ADDRESSES_MAX, LINKS_MAX, only_here, plan

GOOD = netlink.UP | netlink.RUNNING | netlink.MULTICAST


def network(*interfaces):
    """("eth0", flags, "10.0.0.1", ("fd00::1", flags)...) each."""
    links, addresses = [], []
    for index, (name, flags, *own) in enumerate(interfaces, 1):
        links.append(Link(index, name, flags))
        for each in own:
            text, marks = each if isinstance(each, tuple) else (each, 0)
            addresses.append(Address(index, ipaddress.ip_address(text), marks))
    return Network(tuple(links), tuple(addresses))


@pytest.mark.parametrize(
    ("interfaces", "sockets", "told"),
    [
        ([], (), ()),
        ([("lo", GOOD | netlink.LOOPBACK, "127.0.0.1", "::1")], (), ()),
        ([("eth0", GOOD, "10.0.0.1", "fe80::1")], ("10.0.0.1", "fe80::1"), ("10.0.0.1",)),
        ([("eth0", GOOD, "10.0.0.1", "10.0.0.2")], ("10.0.0.1",), ("10.0.0.1", "10.0.0.2")),
        ([("eth0", GOOD, "fd00::1", "fe80::1")], ("fe80::1",), ("fd00::1",)),
        ([("usb0", GOOD, "169.254.1.1", "fe80::1")], ("169.254.1.1", "fe80::1"), ("169.254.1.1", "fe80::1")),
        ([("eth0", GOOD, "169.254.1.1", "10.0.0.1")], ("169.254.1.1",), ("10.0.0.1",)),
        ([("eth0", netlink.UP | netlink.MULTICAST, "10.0.0.1")], (), ()),
        ([("eth0", netlink.UP | netlink.RUNNING, "10.0.0.1")], (), ()),
        ([("wg0", GOOD | netlink.POINT_TO_POINT, "10.8.0.1")], (), ()),
        ([("docker0", GOOD, "172.17.0.1"), ("br-0123456789ab", GOOD, "172.18.0.1")], (), ()),
        ([("br-lan", GOOD, "10.0.0.1")], ("10.0.0.1",), ("10.0.0.1",)),
        ([("eth0", GOOD, ("fd00::1", netlink.TENTATIVE))], (), ()),
        ([("eth0", GOOD, ("fd00::1", netlink.DAD_FAILED), "10.0.0.1")], ("10.0.0.1",), ("10.0.0.1",)),
        ([("eth0", GOOD, ("fd00::1", netlink.TEMPORARY), "fd00::2")], ("fd00::1",), ("fd00::2",)),
        ([("eth0", GOOD, ("fd00::1", netlink.DEPRECATED), "fd00::2")], ("fd00::1",), ("fd00::2",)),
        (
            [("eth0", GOOD, "fe80::1", "10.0.0.1"), ("eth0.5", GOOD, "fe80::1", "10.5.0.1")],
            ("10.0.0.1", 1, "10.5.0.1", 2),
            ("10.0.0.1", "10.5.0.1"),
        ),
    ],
)
def test_a_plan_for_each_network(interfaces, sockets, told):
    made = plan(network(*interfaces))
    assert (made.sockets, made.addresses) == (sockets, told)


def test_only_what_the_box_listens_on_is_told():
    both = network(("eth0", GOOD, "10.0.0.1", "fd00::1"), ("eth1", GOOD, "10.1.0.1"))
    assert plan(both, listen=["0.0.0.0"]).addresses == ("10.0.0.1", "10.1.0.1")
    assert plan(both, listen=["::"]).addresses == ("fd00::1",)
    assert plan(both, listen=["10.1.0.1"]).addresses == ("10.1.0.1",)
    assert plan(both, listen=["192.0.2.1"]).addresses == ()
    assert only_here(["127.0.0.1", "::1"])
    assert not only_here(["127.0.0.1", "0.0.0.0"])


def test_interfaces_that_are_named_are_the_only_ones():
    both = network(("eth0", GOOD, "10.0.0.1"), ("docker0", GOOD, "172.17.0.1"))
    assert plan(both, interfaces=["docker0"]).addresses == ("172.17.0.1",)


def test_a_plan_is_bounded_and_knows_all_addresses_of_the_machine():
    many = [(f"eth{n}", GOOD, *(f"10.{n}.0.{each}" for each in range(1, 9))) for n in range(20)]
    made = plan(network(*many))
    assert len(made.sockets) == len(made.links) == LINKS_MAX
    assert len(made.addresses) == ADDRESSES_MAX
    assert len(made.own) == 160


def test_the_kernel_tells_of_the_loopback_interface():
    found = read_network()
    [lo] = [link for link in found.links if link.name == "lo"]
    assert lo.flags & netlink.LOOPBACK
    with netlink.open_watch() as watch:
        netlink.drain(watch)


@given(st.binary(max_size=300))
def test_octets_that_are_no_netlink_do_no_harm(part):
    for read in (links_in, addresses_in):
        with contextlib.suppress(OSError):
            list(read(part))


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=40)), max_size=5), st.data())
def test_messages_with_damage_do_no_harm(messages, data):
    part = b""
    for kind, body in messages:
        length = len(body) + 16
        part += (
            length.to_bytes(4, "little") + kind.to_bytes(2, "little") + bytes(10) + body + bytes(-length % 4)
        )
    at = data.draw(st.integers(0, max(0, len(part) - 1)))
    part = part[:at] + data.draw(st.binary(min_size=1, max_size=1)) + part[at + 1 :]
    for read in (links_in, addresses_in):
        with contextlib.suppress(OSError):
            list(read(part))


def test_an_error_of_the_kernel_is_raised():
    part = (36).to_bytes(4, "little") + (2).to_bytes(2, "little") + bytes(10)
    part += (-13).to_bytes(4, "little", signed=True) + bytes(16)
    with pytest.raises(PermissionError):
        list(links_in(part))
