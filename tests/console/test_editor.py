"""What people type, what they see, and what junk does."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.editor import (
    FED_OCTETS_MAX,
    HISTORY_LINES,
    LINE_OCTETS_MAX,
    Complete,
    Editor,
    End,
    Interrupt,
    Line,
    TooLong,
    width,
)
from tests.console.screen import Screen

UP, DOWN, RIGHT, LEFT = b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D"
PROMPT = "pocket> "


class Typist:
    """Somebody at a terminal: `types` shows the screen what the editor sends back."""

    def __init__(self, prompt=PROMPT, secret=False, columns=80):
        self.editor = Editor(columns)
        self.screen = Screen(columns)
        self.events = []
        self.sent = b""
        self.prompt = prompt
        self.editor.ask(prompt, secret)
        self._look()

    def types(self, octets, one_by_one=False):
        pieces = [octets] if not one_by_one else [octets[i : i + 1] for i in range(len(octets))]
        for piece in pieces:
            for start in range(0, len(piece), FED_OCTETS_MAX):
                self.editor.feed(piece[start : start + FED_OCTETS_MAX])
                self._read()
        return self

    def _read(self):
        while (event := self.editor.next_event()) is not None:
            self.events.append(event)
            self._look()
            if not isinstance(event, Complete):
                self.editor.ask(self.prompt)
        self._look()

    def _look(self):
        sent = self.editor.output()
        self.sent += sent
        self.screen.write(sent)

    @property
    def lines(self):
        return [event.text for event in self.events if isinstance(event, Line)]

    @property
    def sees(self):
        """The latest row, with a mark where the cursor is."""
        cells = self.screen.lines[-1]
        before = "".join(cells[: self.screen.column]) + " " * (self.screen.column - len(cells))
        return before + "|" + "".join(cells[self.screen.column :]).rstrip(" ")


def test_what_is_typed_is_echoed_and_enter_gives_the_line():
    person = Typist().types(b"status\r", one_by_one=True)
    assert person.lines == ["status"]
    assert person.screen.text == "pocket> status\npocket>"


def test_typing_at_the_end_of_a_line_costs_one_octet_each():
    person = Typist()
    person.sent = b""
    assert person.types(b"status", one_by_one=True).sent == b"status"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_every_kind_of_line_end_ends_one_line(end):
    assert Typist().types(b"one" + end + b"two" + end, one_by_one=True).lines == ["one", "two"]


@pytest.mark.parametrize(
    ("keys", "sees"),
    [
        (b"status\x08\x7f", "stat|"),
        (b"status\x01", "|status"),
        (b"status\x01\x05", "status|"),
        (b"status\x1b[H\x1b[F", "status|"),
        (b"status\x1bOH", "|status"),
        (b"status\x1b[1~", "|status"),
        (b"status" + LEFT * 2, "stat|us"),
        (b"status" + LEFT * 9 + RIGHT, "s|tatus"),
        (b"status\x02\x02\x06", "statu|s"),
        (b"status" + LEFT * 2 + b"X", "statX|us"),
        (b"status" + LEFT * 2 + b"\x08", "sta|us"),
        (b"status\x01\x1b[3~", "|tatus"),
        (b"status\x01\x04", "|tatus"),
        (b"pair open 5" + LEFT + b"\x15", "|5"),
        (b"pair open 5\x15", "|"),
        (b"pair open\x01" + RIGHT * 4 + b"\x0b", "pair|"),
        (b"pair open\x17", "pair |"),
        (b"pair open  \x17", "pair |"),
        (b"pair\x17\x17", "|"),
        (b"pair open" + LEFT * 2 + b"\x17", "pair |en"),
        (b"\x08\x7f\x17\x15\x0b" + LEFT + RIGHT + b"\x1b[3~ok", "ok|"),
        ("Müller".encode() + LEFT * 5 + b"\x08", "|üller"),
        ("あん".encode() + LEFT + b"x", "あx|ん"),
        (b"\x1b[1;5Dab\x1b[1;5Dc", "ac|b"),
    ],
)
def test_keys(keys, sees):
    for one_by_one in (True, False):
        assert Typist().types(keys, one_by_one).sees == PROMPT + sees


def test_ctrl_c_forgets_the_line():
    person = Typist().types(b"device drop 7\x03status\r")
    assert person.events == [Interrupt(), Line("status")]
    assert person.screen.text.splitlines()[0] == "pocket> device drop 7^C"


def test_ctrl_d_on_an_empty_line_is_an_end():
    assert Typist().types(b"x\x04\x7f\x04").events == [End()]


def test_ctrl_l_clears_the_screen_and_keeps_the_line():
    person = Typist().types(b"one\rtwo" + LEFT + b"\x0c")
    assert person.screen.text == "pocket> two"
    assert person.sees == "pocket> tw|o"


def test_history_goes_up_and_down_and_keeps_what_was_begun():
    person = Typist().types(b"one\rtwo\rtwo\r  \rthr" + UP)
    assert person.sees == "pocket> two|"
    person.types(UP)
    assert person.sees == "pocket> one|"
    person.types(UP)
    assert person.screen.bells == 1
    person.types(DOWN + b"\x0e")
    assert person.sees == "pocket> thr|"
    person.types(b"\x10\x10\r")
    assert person.lines[-1] == "one"


def test_history_is_bounded():
    person = Typist().types(b"".join(b"line %d\r" % n for n in range(HISTORY_LINES + 20)))
    person.types(UP * (HISTORY_LINES + 20))
    assert person.sees == "pocket> line 20|"


def test_a_forgotten_history_is_gone():
    person = Typist().types(b"one\r")
    person.editor.forget_history()
    assert person.types(UP).sees == PROMPT + "|"


def test_a_secret_is_neither_shown_nor_kept():
    person = Typist("password: ", secret=True).types("gehéim\t".encode() + LEFT + b"X\r")
    assert person.lines == ["gehéiXm"]
    assert "geh" not in repr(person.events)
    assert person.screen.text == "password:\npassword:"
    assert person.types(UP).sees == "password: |"


def test_history_cannot_be_called_into_a_secret():
    person = Typist().types(b"one\r")
    person.editor.ask("password: ", secret=True)
    assert person.types(UP + b"\r").lines[-1] == ""


def test_tab_asks_for_what_stands_left_of_the_cursor():
    assert Typist().types(b"device dr op" + LEFT * 3 + b"\t").events == [Complete("device dr")]


@pytest.mark.parametrize(
    ("typed", "offered", "replace", "sees"),
    [
        ("st", ["status"], 2, "status |"),
        ("", ["status"], 0, "status |"),
        ("pair ", ["open", "close"], 0, "pair |"),
        ("device l", ["list", "listen"], 1, "device list|"),
        ("device drop An", ["'Ann Smith/phone'"], 2, "device drop 'Ann Smith/phone' |"),
        ("device drop An", ["'Ann Smith'", "Anna"], 2, "device drop An|"),
        ("x", [], 1, "x|"),
    ],
)
def test_completion_takes_what_is_common(typed, offered, replace, sees):
    person = Typist().types(typed.encode() + b"\t")
    person.editor.offer(offered, replace)
    person._look()
    assert person.sees == PROMPT + sees


def test_candidates_that_have_no_more_in_common_are_listed():
    person = Typist().types(b"d\t")
    person.editor.offer(["device", "doctor"], 1)
    person._look()
    assert person.screen.text == "pocket> d\ndevice  doctor\npocket> d"


def test_in_the_middle_of_a_line_only_the_left_is_completed():
    person = Typist().types(b"st --json" + LEFT * 7 + b"\t")
    person.editor.offer(["status"], 2)
    person._look()
    assert person.sees == "pocket> status | --json"


def test_a_long_line_scrolls_sideways():
    text = "".join(string.ascii_letters[n % 52] for n in range(500))
    person = Typist().types(text.encode())
    assert person.screen.lines[-1][8:] == list(text[-69:])
    person.types(b"\x01")
    assert person.sees == PROMPT + "|" + text[:69]
    assert len(person.screen.lines) == 1
    assert person.types(b"\r").lines == [text]


def test_a_line_of_a_megabyte_rings_once_and_is_not_run():
    person = Typist().types(b"status " * 150_000 + b"\rpair close\r")
    assert person.events == [TooLong(), Line("pair close")]
    assert person.screen.bells == 1
    assert len(person.sent) < 1 << 15


def test_a_line_that_was_too_long_may_be_shortened():
    person = Typist().types(b"x" * 2000 + b"\x15status\r")
    assert person.lines == ["status"]


def test_the_limit_is_in_octets():
    person = Typist().types("ü".encode() * 600)
    assert len(person.editor.line) == LINE_OCTETS_MAX // 2


def test_nuls_and_octets_that_are_no_utf_8_are_ignored():
    assert Typist().types(b"s\x00t\xffat\xc3u\xe2\x82s\x1c\x1f\x80\r\x00").lines == ["status"]


def test_half_a_character_is_not_the_start_of_another():
    assert Typist().types(b"\xc3\x01\xa9\r").lines == [""]


def test_characters_that_do_not_print_are_ignored():
    assert Typist().types("st\u202eat\u0085us\u200b\u2028\r".encode()).lines == ["status"]


def test_an_escape_that_never_ends_takes_no_more_than_a_few_octets():
    person = Typist().types(b"\x1b[" + b"1" * 100 + b"status\r")
    assert person.lines[0].endswith("1status")


def test_what_nobody_reads_is_bounded():
    editor = Editor()
    editor.ask(PROMPT)
    for _ in range(1000):
        editor.feed(b"x" * 1000)
    while editor.next_event() is not None:
        pass
    assert len(editor.line) <= FED_OCTETS_MAX


def test_of_what_was_dropped_no_half_line_is_run():
    editor = Editor()
    editor.ask(PROMPT)
    editor.feed(b"status\r" * 500 + b"device drop 1")
    editor.feed(b"2\rpair close\r" + b" " * 1000 + b"\r")
    events = [editor.next_event() for _ in range(4)]
    assert events == [TooLong(), Line("pair close"), Line(" " * 1000), None]


keys = st.sampled_from(
    [
        UP,
        DOWN,
        LEFT,
        RIGHT,
        b"\x1b[3~",
        b"\x01",
        b"\x05",
        b"\x0b",
        b"\x15",
        b"\x17",
        b"\x7f",
        b"\x04",
        b"\x0c",
    ]
)
typed = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=60)
strokes = st.lists(st.one_of(keys, typed.map(str.encode), st.just(b"\r"), st.just(b"\x03")), max_size=30)


@given(strokes, st.integers(20, 90))
def test_the_screen_shows_the_line_and_the_cursor_stands_where_it_is_edited(pressed, columns):
    person = Typist("> ", columns=columns)
    for octets in pressed:
        person.types(octets)
        editor = person.editor
        seen = "".join(person.screen.lines[-1]).removeprefix("> ")
        before = "".join(person.screen.lines[-1][: person.screen.column]).removeprefix("> ")
        assert seen in editor.line
        assert editor.line[: editor.cursor].endswith(before)
        assert editor.line[editor.cursor :].startswith(seen[len(before) :])
        if width(editor.line) <= columns - 5:
            assert seen == editor.line


@given(strokes, st.data())
def test_how_octets_arrive_makes_no_difference(pressed, data):
    octets = b"".join(pressed)
    whole, split = Typist().types(octets), Typist()
    at = 0
    while at < len(octets):
        size = data.draw(st.integers(1, len(octets) - at))
        split.types(octets[at : at + size])
        at += size
    assert split.events == whole.events
    assert split.sees == whole.sees


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_octets_do_harm(chunks):
    """Whatever comes: lines are printable and bounded, the answer is bounded by what was fed, and an escape
    or a control character never comes back (the screen would not know it)."""
    person = Typist()
    for chunk in chunks:
        person.types(chunk)
    for line in person.lines:
        assert line.isprintable()
        assert len(line.encode()) <= LINE_OCTETS_MAX
    fed = sum(map(len, chunks))
    assert len(person.sent) <= 400 * len(chunks) + 600 * fed + 600
