"""The command itself: help, exit codes, options, starting fast, serving."""

import errno
import json
import os
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.cli.common import default_data
from appliance.config import Config
from appliance.control import ControlError
from appliance.version import __version__

HEAVY = {
    "trio",
    "ssl",
    "sqlite3",
    "cryptography",
    "msgspec",
    "jwt",
    "asyncio",
    "appliance.app",
    "appliance.store",
}


def words(command=main, path=()):
    """Every command and group with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from words(inner, (*path, name))


EVERY_WORD = [pytest.param(path, command, id=" ".join(path) or "pocket") for path, command in words()]
EVERY_ACTION = [
    pytest.param(*word.values, id=word.id) for word in EVERY_WORD if not hasattr(word.values[1], "commands")
]


def run(*args, env=None):
    return CliRunner().invoke(main, args, env=env)


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch, tmp_path):
    monkeypatch.delenv("POCKET_DATA", raising=False)
    monkeypatch.delenv("POCKET_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("path", "command"), EVERY_WORD)
def test_help_teaches_by_example(path, command):
    help_text = run(*path, "--help")
    assert help_text.exit_code == 0
    examples = help_text.output.partition("Example")[2]
    assert f"  pocket {' '.join(path)}".rstrip() in examples
    assert help_text.output == run(*path, "-h").output


@pytest.mark.parametrize(("path", "command"), EVERY_WORD)
def test_the_list_of_words_tells_each_in_a_whole_sentence(path, command):
    assert not command.get_short_help_str(60).endswith("...")


@pytest.mark.parametrize(("path", "command"), EVERY_ACTION)
def test_every_word_takes_the_data_folder_and_json(path, command):
    options = {option for parameter in command.params for option in parameter.opts}
    if path[0] not in ("completion", "find") and path != ("pair", "join"):
        assert "--data" in options
    if path[0] not in ("completion", "serve"):
        assert "--json" in options


@pytest.mark.parametrize(("path", "command"), EVERY_ACTION)
def test_a_wrong_call_is_exit_code_2(path, command):
    assert run(*path, "--no-such-option").exit_code == 2


def test_version():
    assert run("--version").output == f"pocket {__version__}\n"


def test_the_command_starts_without_what_only_the_box_needs():
    program = "import sys; from appliance.cli import main; dict(main.commands); print(*sys.modules)"
    sources = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=sources
    )
    assert HEAVY.isdisjoint(loaded.stdout.split())
    assert "appliance.cli.people" in loaded.stdout.split()


def test_the_box_keeps_no_words_in_memory_that_it_does_not_say():
    program = "import sys; from appliance.cli import main; main.commands['serve']; print(*sys.modules)"
    sources = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=sources
    )
    assert "appliance.cli.serve" in loaded.stdout.split()
    assert {"appliance.cli.people", "appliance.cli.peers"}.isdisjoint(loaded.stdout.split())


def test_the_data_folder_is_found(tmp_path, monkeypatch):
    installed = tmp_path / "installed"
    monkeypatch.setattr("appliance.cli.common.INSTALLED_DATA", installed)
    assert default_data() == Path("data")
    installed.mkdir()
    assert default_data() == installed
    Path("data").mkdir()
    assert default_data() == Path("data")


def test_in_a_folder_that_one_may_not_look_into_there_is_no_data(monkeypatch, tmp_path):
    look = os.stat

    def refuse(path, *words, **named):
        if str(path) == "data":
            raise PermissionError(errno.EACCES, "Permission denied", "data")
        return look(path, *words, **named)

    monkeypatch.setattr("appliance.cli.common.INSTALLED_DATA", tmp_path)
    monkeypatch.setattr(os, "stat", refuse)
    assert default_data() == tmp_path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_calls_pocket(shell):
    script = run("completion", shell)
    assert script.exit_code == 0
    assert f"_POCKET_COMPLETE={shell}_complete" in script.output


def test_the_bash_script_is_bash():
    script = run("completion", "bash").output
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.fixture
def app(monkeypatch):
    """Stands in for the box; what it was started with is in `app.configs`."""
    stand_in = types.ModuleType("appliance.app")
    stand_in.configs = []  # type: ignore[attr-defined]
    stand_in.run = stand_in.configs.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "appliance.app", stand_in)
    return stand_in


def test_serve_runs_the_box_with_what_was_given(app, tmp_path):
    given = [
        "--data",
        str(tmp_path / "d"),
        "--listen",
        "127.0.0.1:0",
        "--name",
        "Home",
        "--registration",
        "open",
    ]
    given += ["--set", "limits.links=7", "--set", "log.level=debug", "--set", "limits.message_octets=2 MiB"]
    assert run("serve", *given).exit_code == 0
    (config,) = app.configs
    assert config.data == tmp_path / "d"
    assert (str(config.listen), config.name, config.registration) == ("127.0.0.1:0", "Home", "open")
    assert (config.limits.links, config.log.level, config.limits.message_octets) == (7, "debug", 2 << 20)


def test_serve_without_anything_uses_the_defaults(app):
    assert run("serve").exit_code == 0
    assert app.configs == [Config()]


def test_serve_without_anything_takes_the_data_folder_of_an_installed_box(app, tmp_path, monkeypatch):
    monkeypatch.setattr("appliance.cli.common.INSTALLED_DATA", tmp_path)
    assert run("serve").exit_code == 0
    assert run("serve", "--data", "x").exit_code == 0
    assert [config.data for config in app.configs] == [tmp_path, tmp_path / "x"]


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(app, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("data = 'of-the-file'\nname = 'File'")
    run("serve", "--config", str(file))
    run("serve", env={"POCKET_CONFIG": str(file)})
    run("serve", "--config", str(file), env={"POCKET_DATA": "of-the-environment"})
    run("serve", "--config", str(file), "--data", "of-the-line", env={"POCKET_DATA": "of-the-environment"})
    assert [config.data.name for config in app.configs] == [
        "of-the-file",
        "of-the-file",
        "of-the-environment",
        "of-the-line",
    ]
    assert {config.name for config in app.configs} == {"File"}


def test_a_configuration_file_in_the_data_folder_is_taken(app, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "pocket.toml").write_text("name = 'Found'")
    run("serve", "--data", "d")
    (config,) = app.configs
    assert (config.name, config.data) == ("Found", tmp_path / "d")


def test_an_installed_box_has_its_configuration_file_elsewhere(app, tmp_path, monkeypatch):
    installed, file = tmp_path / "installed", tmp_path / "etc.toml"
    installed.mkdir()
    file.write_text("name = 'Installed'")
    monkeypatch.setattr("appliance.cli.common.INSTALLED_DATA", installed)
    monkeypatch.setattr("appliance.cli.common.INSTALLED_CONFIG", file)
    run("serve")
    run("serve", "--data", "x")
    (installed / "pocket.toml").write_text("name = 'Nearer'")
    run("serve")
    assert [config.name for config in app.configs] == ["Installed", "Pocket", "Nearer"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: run as root")
@pytest.mark.parametrize("words", [["status"], ["doctor"], ["config", "show"]], ids=" ".join)
def test_the_folder_of_another_user_is_told_with_what_to_do(words):
    with TemporaryDirectory() as folder:
        code = (
            "import os; import appliance.cli as cli, appliance.doctor;"
            f"os.setgid(65534); os.setuid(65534); cli.main({[*words, '--data', folder]!r})"
        )
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert tried.returncode == 1
    assert "belongs to user root: try again with   sudo -u root pocket" in tried.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--registration", "maybe"],
            "--registration: registration = 'maybe' must be open, pairing or closed",
        ),
        (["--listen", "x"], "--listen: listen = 'x' is no address to listen on"),
        (["--set", "limits.lnks=3"], "--set limits.lnks: there is no limits.lnks: did you mean links?"),
        (["--set", "lnks=3"], "--set lnks: there is no lnks"),
        (["--config", "none.toml"], "none.toml: there is no such file"),
    ],
)
def test_a_wrong_setting_is_told_and_nothing_runs(app, given, said):
    result = run("serve", *given)
    assert result.exit_code == 1
    assert said in result.stderr
    assert app.configs == []


def test_an_assignment_must_have_a_name_and_a_value(app):
    for text in ("links", "=3", ""):
        assert run("serve", "--set", text).exit_code == 2


@pytest.mark.parametrize("nested", [False, True])
def test_a_box_that_cannot_start_says_why_without_a_traceback(app, nested):
    error = ControlError("a box is already running on data (process 7)")

    def refuse(config):
        raise ExceptionGroup("n", [ExceptionGroup("m", [error])]) if nested else error

    app.run = refuse
    result = run("serve")
    assert result.exit_code == 1
    assert result.stderr == "Error: a box is already running on data (process 7)\n"


def test_config_show_prints_what_serve_would_use(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("name = 'File'\n[limits]\nlinks = 9")
    shown = run("config", "show", "--config", str(file), "--listen", ":1", "--set", "limits.members=3")
    tree = tomllib.loads(shown.output)
    assert (tree["name"], tree["listen"], tree["limits"]["links"]) == ("File", "0.0.0.0:1", 9)
    assert tree["limits"]["members"] == 3
    assert "# Members of the site: 1 to 1000000.\n" in shown.output


def test_config_show_as_json():
    shown = json.loads(run("config", "show", "--json", "--listen", "[::1]:5").output)
    assert (shown["listen"], shown["delivery"]["window_octets"]) == ("[::1]:5", 4 << 20)
    assert shown["tls"] == {"cert": None, "key": None}


def test_config_show_with_a_mistake_fails(tmp_path):
    assert run("config", "show", "--name", "").exit_code == 1


def test_config_check_lists_every_problem_with_its_line(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("nmae = 'x'\n\n[limits]\nlinks = 0\n")
    result = run("config", "check", str(file))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{file}:1: there is no nmae: did you mean name?",
        f"{file}:4: limits.links = 0 is out of bounds: take 1 to 1000000",
    ]
    as_json = run("config", "check", str(file), "--json")
    assert as_json.exit_code == 1
    assert [problem["where"] for problem in json.loads(as_json.stdout)] == [f"{file}:1", f"{file}:4"]


def test_config_check_of_a_right_file_says_so(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("name = 'x'")
    assert run("config", "check", str(file)).stdout == f"{file} is right\n"
    assert run("config", "check", str(file), "--json").stdout == "[]\n"


def test_config_check_takes_the_file_that_serve_would_take(tmp_path):
    (tmp_path / "data").mkdir()
    assert run("config", "check").stdout == "there is no configuration file: all defaults are in force\n"
    (tmp_path / "data" / "pocket.toml").write_text("x = 1")
    assert run("config", "check").stdout.startswith("data/pocket.toml:1: there is no x")
    (tmp_path / "other.toml").write_text("y = 1")
    other = run("config", "check", env={"POCKET_CONFIG": str(tmp_path / "other.toml")})
    assert "other.toml:1: there is no y" in other.stdout


def test_the_command_is_installed_beside_python():
    pocket = Path(sys.executable).parent / "pocket"
    if not pocket.exists():
        pytest.skip("this environment has the sources, not the package")
    told = subprocess.run(
        [pocket, "--version"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert told.stdout == f"pocket {__version__}\n"
