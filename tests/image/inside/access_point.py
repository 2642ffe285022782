"""access_point.py INTERFACE SSID PASSWORD NET: a Wi-Fi network on a simulated radio, with DHCP; NET is like
10.77.1.

wpa_supplicant plays the access point; the first who asks gets NET.2, and so does everybody else: the
trials have one.
"""

import socket
import struct
import subprocess
import sys
from pathlib import Path

DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
COOKIE = b"\x63\x82\x53\x63"
LEASE_S = 3600


def options(octets):
    found = {}
    while octets and octets[0] != 255:
        if octets[0] == 0:
            octets = octets[1:]
            continue
        found[octets[0]] = octets[2 : 2 + octets[1]]
        octets = octets[2 + octets[1] :]
    return found


def answer(asked, kind, server, given, mask):
    """What a DHCP server says (RFC 2131)."""
    none = b"\0" * 4
    head = struct.pack("!BBBB4sHH4s4s4s4s", 2, 1, 6, 0, asked[4:8], 0, 0x8000, none, given, server, none)
    told = b"".join(
        bytes([code, len(value)]) + value
        for code, value in (
            (53, bytes([kind])),
            (54, server),
            (51, struct.pack("!I", LEASE_S)),
            (1, mask),
            (3, server),
        )
    )
    return head + asked[28:44] + b"\0" * 192 + COOKIE + told + b"\xff"


def main():
    interface, ssid, password, net = sys.argv[1:5]
    settings = Path(f"/run/{interface}.conf")
    settings.write_text(
        "country=DE\nnetwork={\n"
        f'mode=2\nssid="{ssid}"\nfrequency=2412\nkey_mgmt=WPA-PSK\nproto=RSN\npairwise=CCMP\npsk="{password}"\n'
        "}\n"
    )
    subprocess.run(["nmcli", "device", "set", interface, "managed", "no"], check=True)
    subprocess.run(["ip", "address", "add", f"{net}.1/24", "dev", interface], check=True)
    subprocess.run(["wpa_supplicant", "-B", "-i", interface, "-c", str(settings)], check=True)
    server, given, mask = (socket.inet_aton(each) for each in (f"{net}.1", f"{net}.2", "255.255.255.0"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind(("", 67))
        while True:
            asked = sock.recv(2048)
            kind = options(asked[240:]).get(53, b"\0")[0]
            if kind in (DISCOVER, REQUEST):
                said = answer(asked, OFFER if kind == DISCOVER else ACK, server, given, mask)
                sock.sendto(said, ("255.255.255.255", 68))


main()
