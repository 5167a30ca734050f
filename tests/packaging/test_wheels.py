"""The pinned wheels: complete, in the versions that were tested, and nothing else is accepted."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import extension
import pytest
import wheels

ROOT = Path(__file__).parents[2]


def test_every_platform_and_python_has_each_package_in_the_version_of_the_constraints() -> None:
    pins = wheels.read_pins()
    versions = wheels.pinned_versions()
    assert {pin.requirement for pin in pins} == {f"{name}=={version}" for name, version in versions.items()}
    for platform in wheels.PLATFORMS:
        for package in wheels.PACKAGES:
            mine = [pin for pin in pins if pin.platform == platform and pin.name.startswith(f"{package}-")]
            served = {pin.python for pin in mine}
            if any("-abi3-" in pin.name for pin in mine):
                served.add("3.14")
            assert served == set(wheels.PYTHONS), (platform, package, served)


def test_the_protocol_s_requirements_are_all_bundled_or_blender_s_own() -> None:
    project = tomllib.loads((ROOT / "shared_protocol" / "pyproject.toml").read_text())["project"]
    required = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}
    assert required == {*wheels.PACKAGES, "numpy"}


def test_a_damaged_wheel_is_fetched_anew_and_another_than_the_pinned_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "index" / "tiny-1.0-cp311-cp311-win_amd64.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"the wheel")
    right = wheels.Pin(wheel.name, wheels.digest(wheel))

    def from_the_index(requirements, platform, python, folder):
        assert (requirements, platform, python) == (["tiny==1.0"], "windows-x64", "3.11")
        return [Path(shutil.copy(wheel, folder))]

    monkeypatch.setattr(wheels, "download", from_the_index)
    cache = tmp_path / "cache"
    [file] = wheels.fetch_wheels([right], cache)
    file.write_bytes(b"damaged")
    [file] = wheels.fetch_wheels([right], cache)
    assert file.read_bytes() == b"the wheel"
    monkeypatch.setattr(wheels, "download", lambda *_: pytest.fail("it is in the cache"))
    assert wheels.fetch_wheels([right], cache) == [file]
    monkeypatch.setattr(wheels, "download", from_the_index)
    with pytest.raises(wheels.WheelError, match="instead of the pinned"):
        wheels.fetch_wheels([wheels.Pin(wheel.name, "0" * 64)], cache)
    assert [path.name for path in cache.iterdir()] == [wheel.name]


def test_a_wheel_that_is_nowhere_is_named_with_its_platform_and_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # pip itself, which looks nowhere
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(wheels.WheelError, match=r"no wheel of pyzmq==27\.3\.0 for linux-x64 and Python 3\.13"):
        wheels.download(["pyzmq==27.3.0"], "linux-x64", "3.13", tmp_path / "new")


def test_the_protocol_s_wheel_is_pure_and_the_same_each_time(tmp_path: Path) -> None:
    source = ROOT / "shared_protocol"
    before = sorted(path for path in source.rglob("*") if "__pycache__" not in path.parts)
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        wheel = wheels.build_protocol_wheel(tmp_path / name)
        assert wheel.name == "limbeck_protocol-0.1.0-py3-none-any.whl"
        digests.add(wheels.digest(wheel))
    assert len(digests) == 1
    assert sorted(path for path in source.rglob("*") if "__pycache__" not in path.parts) == before


def test_the_manifest_is_completed_before_its_tables_and_only_once() -> None:
    source = (extension.SOURCE / extension.MANIFEST).read_text()
    text = extension.complete_manifest(source, ["linux-x64"], ["a-1-py3-none-any.whl"])
    manifest = tomllib.loads(text)
    assert manifest["platforms"] == ["linux-x64"]
    assert manifest["wheels"] == ["./wheels/a-1-py3-none-any.whl"]
    assert manifest["build"]["paths_exclude_pattern"]
    assert tomllib.loads(source).items() <= manifest.items()
    with pytest.raises(extension.ExtensionError, match="already"):
        extension.complete_manifest(text, [], [])


def test_the_script_explains_itself_and_refuses_what_it_does_not_know() -> None:
    script = ROOT / "packaging" / "real-blender"
    told = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "real-blender install" in told
    refused = subprocess.run([script, "dance"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "say what to do" in refused.stderr
