"""What Blender pays for carrying the protocol."""

from __future__ import annotations

import subprocess
import sys
import time


def run(program: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    return time.perf_counter() - begun


def test_the_package_imports_in_a_moment_and_loads_nothing_heavy() -> None:
    program = (
        "import sys, limbeck_protocol\n"
        "heavy = {'torch', 'bpy', 'numpy', 'zmq', 'msgspec', 'msgpack'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    assert min(run(program) for _ in range(5)) < 0.3


def test_the_client_needs_neither_torch_nor_bpy_nor_the_server() -> None:
    run(
        "import sys, limbeck_protocol.client\n"
        "heavy = {'torch', 'bpy', 'limbeck_server', 'platformdirs', 'diffusers', 'asyncio'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )


def test_messages_and_recipes_need_no_socket() -> None:
    run("import sys, limbeck_protocol.codec, limbeck_protocol.recipe\nassert 'zmq' not in sys.modules")
