"""Steps are done once for the same inputs, again for others; a build that was interrupted goes on."""

import dataclasses

import pytest

from image import build as building
from image.board import board
from image.build import Build, settings
from image.errors import ImageError
from image.steps import Step


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A repository with two steps that run on this machine: `first` writes what a file says, `second`
    reads it."""
    (tmp_path / "repo/image/steps").mkdir(parents=True)
    script(tmp_path, "first", 'cat "$REPO/words" >"$OUT/words"; echo "$VERSION" >>"$OUT/words"')
    script(tmp_path, "second", 'tr a-z A-Z <"$FIRST/words" >"$OUT/words"')
    (tmp_path / "repo/words").write_text("hello\n")
    steps = (
        Step("first", "one", (), ("VERSION",), ("words",), tools=False),
        Step("second", "two", ("first",), (), (), tools=False),
    )
    monkeypatch.setattr(building, "STEPS", steps)
    monkeypatch.setattr(building, "REPO", tmp_path / "repo")
    monkeypatch.setattr(building, "HERE", tmp_path / "repo/image")
    monkeypatch.setenv("KEYS", str(tmp_path / "keys"))
    return tmp_path


def script(place, name, text):
    path = place / f"repo/image/steps/{name}.sh"
    path.write_text(f"#!/bin/sh\nset -e\necho {name} >>{place}/done\n{text}\n")
    path.chmod(0o755)


def build(place, **changed):
    machine = board("virt-amd64")
    told = {"BOARD": "virt-amd64", "ARCH": "amd64", "VERSION": "1", **changed}
    made = Build(machine, told, place / "build")
    made.run()
    return (made.result("second") / "words").read_text(), done(place)


def done(place):
    path = place / "done"
    words = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return words


def test_what_has_been_done_is_not_done_again(place):
    assert build(place) == ("HELLO\n1\n", ["first", "second"])
    assert build(place) == ("HELLO\n1\n", [])


def test_a_file_a_setting_or_the_script_that_changed_is_done_again_with_what_follows(place):
    build(place)
    (place / "repo/words").write_text("bye\n")
    assert build(place) == ("BYE\n1\n", ["first", "second"])
    assert build(place, VERSION="2") == ("BYE\n2\n", ["first", "second"])
    script(place, "second", 'cat "$FIRST/words" >"$OUT/words"')
    assert build(place, VERSION="2") == ("bye\n2\n", ["second"])


def test_a_fresh_build_does_everything_again_but_the_tools(place, monkeypatch):
    script(place, "tools", 'echo >"$OUT/words"')
    steps = (Step("tools", "none", tools=False), *vars(building)["STEPS"])
    monkeypatch.setattr(building, "STEPS", steps)
    build(place)
    told = {"BOARD": "virt-amd64", "ARCH": "amd64", "VERSION": "1"}
    Build(board("virt-amd64"), told, place / "build").forget()
    assert build(place)[1] == ["first", "second"]


def test_what_needs_mounts_of_its_own_says_that_only_root_can(place, monkeypatch):
    made = Build(board("virt-amd64"), {"BOARD": "virt-amd64", "ARCH": "amd64", "VERSION": "1"}, place)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ImageError, match="sudo make"):
        made.in_tools(["true"])


def test_what_a_script_names_of_lib_counts(place):
    (place / "repo/image/lib").mkdir()
    (place / "repo/image/lib/words.sh").write_text("word=x\n")
    script(place, "second", '. "$IMAGE/lib/words.sh"; echo $word >"$OUT/words"')
    assert build(place)[0] == "x\n"
    (place / "repo/image/lib/words.sh").write_text("word=y\n")
    assert build(place) == ("y\n", ["second"])


def test_a_step_that_failed_is_told_and_done_again_but_not_those_before_it(place):
    script(place, "second", "echo no such card >&2; exit 3")
    with pytest.raises(ImageError, match="no such card\nthe step second failed"):
        build(place)
    assert done(place) == ["first", "second"]
    script(place, "second", 'cat "$FIRST/words" >"$OUT/words"')
    assert build(place) == ("hello\n1\n", ["second"])


def test_what_was_half_done_when_the_power_went_is_no_result(place):
    build(place)
    words = next((place / "build/cache").glob("second-*"))
    words.rename(words.with_name(words.name + ".work"))
    assert build(place) == ("HELLO\n1\n", ["second"])


def test_results_of_earlier_builds_go_and_those_of_other_boards_stay(place):
    build(place)
    machine = dataclasses.replace(board("virt-amd64"), name="other")
    other = Build(machine, {"BOARD": "other", "ARCH": "amd64", "VERSION": "7"}, place / "build")
    other.run()
    build(place, VERSION="2")
    assert other.result("second").exists()
    assert len(list((place / "build/cache").iterdir())) == 4


def test_a_step_that_only_root_can_do_says_so(place, monkeypatch):
    monkeypatch.setattr(building, "STEPS", (Step("first", "one", root=True, tools=False),))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ImageError, match="sudo make image BOARD=virt-amd64"):
        build(place)


def test_the_environment_sets_version_and_time(monkeypatch):
    monkeypatch.setenv("VERSION", "9.9")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    told = settings(board("virt-arm64"))
    assert (told["VERSION"], told["SOURCE_DATE_EPOCH"], told["ARCH"]) == ("9.9", "12345", "arm64")


def test_what_was_built_last_is_found_whatever_has_changed_since(place):
    build(place)
    (place / "repo/words").write_text("changed\n")
    later = Build(
        board("virt-amd64"), {"BOARD": "virt-amd64", "ARCH": "amd64", "VERSION": "1"}, place / "build"
    )
    assert (later.last("second") / "words").read_text() == "HELLO\n1\n"
    with pytest.raises(ImageError, match="make image BOARD=virt-amd64"):
        later.last("third")
