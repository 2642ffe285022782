"""A stand-in for nmcli, for machines without Wi-Fi: an executable in a folder for PATH, that answers like
nmcli 1.42 does and notes what it was asked.
"""

import json
import sys

SOURCE = """#!{python} -SE
import json, os, sys, time

here = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]


def load():
    with open(here + "/state.json") as file:
        return json.load(file)


def save(state):
    with open(here + "/new.json", "w") as file:
        json.dump(state, file)
    os.replace(here + "/new.json", here + "/state.json")


def fail(code, text):
    sys.stderr.write(text + "\\n")
    sys.exit(code)


state = load()
said = ""
if "--ask" in words:
    sys.stdout.write("Password: ")
    sys.stdout.flush()
    said = sys.stdin.readline().rstrip("\\n")
    sys.stdout.write("*" * len(said) + "\\n")
with open(here + "/asked", "a") as file:
    file.write(json.dumps([words, said, dict(os.environ)]) + "\\n")
if state["hangs"] and ("connect" in words or "list" in words or state["hangs"] == "always"):
    sys.stdout.write("x" * 1000000)
    sys.stdout.flush()
    time.sleep(600)
if not state["running"]:
    fail(8, "Error: NetworkManager is not running.")
if "connect" in words:
    ssid = words[words.index("connect") + 1]
    known = {{name: password for name, password in state["networks"]}}
    hidden = {{name: password for name, password in state["hidden"]}} if "hidden" in words else {{}}
    if ssid not in known and ssid not in hidden:
        fail(10, "Error: No network with SSID '" + ssid + "' found.")
    state["profiles"].append(ssid)
    save(state)
    if {{**known, **hidden}}[ssid] != said:
        fail(4, state["refusal"])
    state["connected"] = ssid
    save(state)
    print("Device 'wlan0' successfully activated with '11111111-2222'.")
elif "delete" in words:
    state["profiles"].remove(words[-1].removeprefix("uuid-of-"))
    save(state)
elif "list" in words:
    for network in state["list"]:
        print(network)
elif "show" in words:
    print("uuid-of-eth0:802-3-ethernet")
    for name in state["profiles"]:
        print("uuid-of-" + name + ":802-11-wireless")
elif "TYPE" in words:
    print("\\n".join(state["devices"]))
elif "TYPE,STATE" in words:
    print("ethernet:connected")
    for device in state["devices"]:
        print(device + ":" + ("connected" if state["connected"] else "disconnected"))
else:
    fail(2, "Error: what is " + repr(words) + "?")
"""

STATE = {
    "running": True, "hangs": "", "devices": ["wifi"], "profiles": [], "connected": None,
    "networks": [["Home", "sesame street"], ["Café", ""]], "hidden": [["Cellar", "no light here"]],
    "refusal": "Error: Connection activation failed: (7) Secrets were required, but not provided.",
    "list": ["486F6D65:62:WPA2", "486F6D65:90:WPA2 WPA3", "436166C3A9:31:", ":50:WPA2", "zz:1:", "1:2"],
}  # fmt: skip


class Nmcli:
    """`folder` is for PATH."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        program = folder / "nmcli"
        program.write_text(SOURCE.format(python=sys.executable))
        program.chmod(0o755)
        self._save(STATE)

    def set(self, **state):
        self._save(self.state | state)

    def _save(self, state):
        new = self.folder / "test.json"
        new.write_text(json.dumps(state))
        new.replace(self.folder / "state.json")

    @property
    def state(self):
        return json.loads((self.folder / "state.json").read_text())

    @property
    def asked(self):
        """What it was asked, as (words, what was typed, environment)."""
        asked = self.folder / "asked"
        return [json.loads(line) for line in asked.read_text().splitlines()] if asked.exists() else []
