"""Finding the server's program: which places are tried in which order, and what is believed."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ADDON = Path(__file__).parents[2] / "blender_addon"
PACKAGE = "limbeck_finder_without_blender"


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """The files, imported without the package's own `__init__`, which wants Blender."""
    package = ModuleType(PACKAGE)
    package.__path__ = [str(ADDON)]
    sys.modules[PACKAGE] = package
    names = ("server_finder", "server_tools", "tool_run", "port_probe", "server_process")
    yield {name: importlib.import_module(f"{PACKAGE}.connection.{name}") for name in names}
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def program(path: Path, text: str = "#!/bin/sh\nexit 1\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def run(finder, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not finder.done:
        begun = time.monotonic()
        finder.step()
        assert time.monotonic() - begun < 1.0, "a step waited"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_usual_places_are_tried_the_likeliest_first_and_each_once(modules, tmp_path: Path) -> None:
    home, project, path = tmp_path / "home", tmp_path / "project", tmp_path / "path"
    named = program(tmp_path / "named" / "limbeck")
    in_project = program(project / ".venv" / "bin" / "python")
    active = program(tmp_path / "active" / "bin" / "limbeck")
    pipx = program(home / ".local/share/pipx/venvs/limbeck-server/bin/python")
    uv = program(home / ".local/share/uv/tools/limbeck-server/bin/limbeck")
    local = program(home / ".local/bin/limbeck")
    on_path = program(path / "limbeck")
    own = program(tmp_path / "blender" / "bin" / "python3.11")
    found = modules["server_finder"].candidates(
        chosen=(named,),
        own_python=(own, "-I"),
        folder=str(project),
        home=home,
        environment={"PATH": str(path), "VIRTUAL_ENV": str(tmp_path / "active")},
    )
    assert found == [(named,), (in_project,), (active,), (pipx,), (uv,), (local,), (on_path,), (own, "-I")]


def test_only_what_answers_with_its_version_is_believed(modules, tmp_path: Path) -> None:
    silent = program(tmp_path / "a" / "limbeck")
    other = program(tmp_path / "b" / "limbeck", "#!/bin/sh\necho Limerick 3\n")
    broken = program(tmp_path / "c" / "limbeck", "no program at all")
    right = program(tmp_path / "d" / "limbeck", '#!/bin/sh\n[ "$1" = --version ] && echo limbeck 1.2.3\n')
    never = program(tmp_path / "e" / "limbeck", "#!/bin/sh\necho limbeck 9\n")
    finder = modules["server_finder"].ServerFinder([[silent], [other], [broken], [right], [never]])
    run(finder)
    assert (finder.found, finder.version) == ((right,), "1.2.3")
    assert finder.tried == [(silent,), (other,), (broken,), (right,)]


def test_the_python_of_this_environment_has_the_server(modules) -> None:
    finder = modules["server_finder"].ServerFinder([[sys.executable]])
    run(finder)
    assert finder.found == (sys.executable,)
    assert finder.version


def test_nothing_found_is_a_sentence(modules, tmp_path: Path) -> None:
    kept: list[tuple[str, ...]] = []
    tools = modules["server_tools"].ServerTools(kept.append)
    tools.find([[program(tmp_path / "limbeck")], ["/no/such/program"]])
    assert tools.is_searching
    deadline = time.monotonic() + 20
    while tools.step() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not kept
    assert tools.notice.startswith("No Limbeck server was found at 2 places")


def test_the_doctor_s_answer_is_read_and_what_is_none_is_not(modules) -> None:
    parse = modules["server_tools"].parse_findings
    line = (
        '{"healthy": true, "findings": [{"name": "GPU", "ok": false, "needed": false, "found": "none", "remedy": ""}]}'
    )
    (finding,) = parse(line)
    assert (finding.name, finding.is_ok, finding.text) == ("GPU", False, "none")
    for text in ("", "Traceback", "[]", "{}", '{"findings": [{"name": "GPU"}]}', '{"findings": 3}'):
        assert parse(text) is None


def test_a_program_that_takes_too_long_is_ended(modules, tmp_path: Path) -> None:
    sleeper = modules["tool_run"].ToolRun([program(tmp_path / "sleeper", "#!/bin/sh\nexec sleep 60\n")], timeout_s=0.2)
    deadline = time.monotonic() + 10
    while (result := sleeper.step()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert result.exit_code != 0


@pytest.mark.parametrize("command", [("limbeck",), ("/a/place/limbeck",), ("uv", "run", "limbeck")])
def test_the_command_limbeck_is_run_as_it_is(modules, command: tuple[str, ...]) -> None:
    assert modules["server_process"].limbeck_command(command) == command


@pytest.mark.parametrize("command", [("python3",), ("/a/place/python", "-I")])
def test_a_python_runs_the_server_s_module(modules, command: tuple[str, ...]) -> None:
    assert modules["server_process"].limbeck_command(command) == (*command, "-m", "limbeck_server.cli")


def test_an_open_port_is_told_from_a_closed_one(modules) -> None:
    import socket

    def answer(endpoint: str) -> bool:
        probe = modules["port_probe"].PortProbe(endpoint)
        deadline = time.monotonic() + 5
        while (found := probe.step()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        probe.close()
        return found

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert answer(f"tcp://127.0.0.1:{port}")
    assert not answer(f"tcp://127.0.0.1:{port}")
    assert not answer("tcp://127.0.0.1:99999")
    assert answer("tcp://a-name-that-is-not-looked-up:1")
