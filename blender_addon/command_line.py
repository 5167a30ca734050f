"""`blender --command limbeck generate "a yellow duck" --out duck.glb`: one object from a terminal or a script.

`blender --command limbeck image "a yellow duck" --out duck.png` makes one picture.

Exit codes: 0 it is done; 1 it failed, and the sentence on stderr says why and what to do; 2 the command cannot be read
or asks for what cannot be. Progress goes to stderr, the result to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.messages import Progress

from . import api

COMMAND = "limbeck"
DONE, FAILED, USAGE = 0, 1, 2
_command: object | None = None


def register() -> None:
    """Make the command known to Blender."""
    global _command
    _command = bpy.utils.register_cli_command(COMMAND, run)


def unregister() -> None:
    """Take it back."""
    global _command
    if _command is not None:
        bpy.utils.unregister_cli_command(_command)
        _command = None


def run(arguments: Sequence[str]) -> int:
    """Return the exit code of `blender --command limbeck ARGUMENTS`."""
    try:
        options = parser().parse_args(list(arguments))
    except SystemExit as stop:  # argparse has said what is wrong, or has shown its help
        return DONE if not stop.code else USAGE
    try:
        check_out(options.out)
        # What Blender's exporters print is no result.
        with contextlib.redirect_stdout(sys.stderr):
            _prepare(options)
            thing = options.make(options)
            if options.out is not None:
                write(thing, options.out)
    except LimbeckError as error:
        _tell_error(error, as_json=options.json)
        return USAGE if error.code is ErrorCode.INVALID_FIELD else FAILED
    print(result_line(thing, options.out, as_json=options.json), flush=True)
    return DONE


def parser() -> argparse.ArgumentParser:
    """Return what reads the command's arguments."""
    top = argparse.ArgumentParser(prog=f"blender --command {COMMAND}", description="Text to 3D by distillation.")
    words = top.add_subparsers(required=True, metavar="COMMAND")
    command = words.add_parser("generate", help="make an object from a prompt, and write it to a file")
    command.add_argument("--size", type=float, default=1.0, help="largest dimension, scene units [%(default)s]")
    _add_common(command, _generate, "standard", ".glb", "object")
    command = words.add_parser("image", help="make a picture from a prompt, and write it to a file")
    command.add_argument("--generator", help="made of: latents, pixels or mlp [what the preset is made for]")
    command.add_argument("--size", type=int, help="side in pixels [that of the prior's own pictures]")
    _add_common(command, _image, "image", ".png", "picture")
    return top


def _add_common(command: argparse.ArgumentParser, make: Callable, preset: str, suffix: str, word: str) -> None:
    """Add what objects and pictures have in common: the recipe, where the result goes, and how long to wait."""
    command.set_defaults(make=make)
    command.add_argument("prompt", help="what to make, such as 'a yellow duck'")
    command.add_argument("--loss", default="sds", help="distillation loss [%(default)s]")
    command.add_argument("--prior", default="exact", help="prior, hub id or folder on the server [%(default)s]")
    command.add_argument("--preset", default=preset, help="preset of all other settings [%(default)s]")
    command.add_argument("--seed", type=int, default=0, help="the same seed gives the same result [%(default)s]")
    command.add_argument("--negative-prompt", help="what to keep away from")
    command.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="one setting, as in the API")
    out = f"write a .blend or {suffix} of the {word} alone"
    command.add_argument("--out", type=_out_file(suffix), metavar="FILE", help=out)
    command.add_argument("--program", metavar="COMMAND", help="starts the server, instead of the preferences' program")
    command.add_argument("--timeout", type=float, default=3600.0, metavar="S", help="wait so long [%(default)g]")
    command.add_argument("--json", action="store_true", help="say the result, or the error, as one line of JSON")


def _out_file(suffix: str) -> Callable[[str], Path]:
    """Return what reads the argument of --out: a .blend, or a file with this suffix."""

    def read(text: str) -> Path:
        path = Path(text).expanduser()
        if path.suffix not in (".blend", suffix):
            raise argparse.ArgumentTypeError(f"{text!r} ends neither in .blend nor in {suffix}")
        return path.absolute()

    return read


def check_out(path: Path | None) -> None:
    """Return nothing, or raise before anything is made for nothing.

    Raises:
        LimbeckError: the file's folder is not there, or .glb cannot be written by this Blender.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        sentence = f"The folder {path.parent} of --out is not there."
        raise LimbeckError(ErrorCode.INVALID_FIELD, sentence, _edit("Make it, or name another.", "out"))
    if path.suffix == ".glb" and "gltf" not in dir(bpy.ops.export_scene):
        sentence = "Blender's glTF add-on is switched off, so that no .glb can be written."
        raise LimbeckError(ErrorCode.INVALID_FIELD, sentence, _edit("Switch it on, or write a .blend.", "out"))


def _prepare(options: argparse.Namespace) -> None:
    if options.program is not None:
        from .preferences import change

        change(python_command=options.program)  # of this run: nothing saves the preferences here
    for thing in list(bpy.data.objects):  # of Blender's startup file: a file of the object alone is asked for
        bpy.data.objects.remove(thing)


def _generate(options: argparse.Namespace) -> bpy.types.Object:
    return api.generate(options.prompt, size=options.size, **_common(options))


def _image(options: argparse.Namespace) -> bpy.types.Image:
    return api.image(options.prompt, generator=options.generator, size=options.size, **_common(options))


def _common(options: argparse.Namespace) -> dict[str, object]:
    """Return the keywords that `api.generate` and `api.image` have in common."""
    return {
        "loss": options.loss,
        "prior": options.prior,
        "preset": options.preset,
        "seed": options.seed,
        "negative_prompt": options.negative_prompt,
        "settings": read_settings(options.set) or None,
        "on_progress": progress_printer(),
        "timeout_s": options.timeout,
    }


def read_settings(pairs: Sequence[str]) -> dict[str, object]:
    """Return the settings of NAME=VALUE pairs; a value that is no JSON is taken as text.

    Raises:
        LimbeckError: a pair has no `=`.
    """
    settings: dict[str, object] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            label = "Write --set steps=100."
            raise LimbeckError(ErrorCode.INVALID_FIELD, f"--set wants NAME=VALUE, not {pair!r}.", _edit(label, "set"))
        try:
            settings[name] = json.loads(text)
        except json.JSONDecodeError:
            settings[name] = text
    return settings


def _edit(label: str, field: str) -> Remedy:
    return Remedy(action=RemedyAction.EDIT_FIELD, label=label, field=field)


def progress_printer() -> Callable[[Progress], None]:
    """Return a function that says on stderr how far a job is, once for each tenth of a phase."""
    said: set[tuple[str, int]] = set()

    def show(progress: Progress) -> None:
        tenth = 10 * progress.step // max(progress.steps, 1)
        if (progress.phase, tenth) not in said:
            said.add((progress.phase, tenth))
            print(f"{progress.phase}: step {progress.step} of {progress.steps}", file=sys.stderr, flush=True)

    return show


def write(thing: bpy.types.Object | bpy.types.Image, path: Path) -> None:
    """Write the object or picture into a file of its own; one that is there is replaced.

    Raises:
        LimbeckError: Blender could not write it; the job stays on the server.
    """
    try:
        if path.suffix == ".blend":
            bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)
        elif path.suffix == ".png":
            path.write_bytes(thing.packed_file.data)  # as the server wrote it
        else:
            bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB")
    except (RuntimeError, OSError) as error:  # the former is how Blender passes an operator's report to a script
        remedy = Remedy(action=RemedyAction.FREE_DISK, label="Look at the folder's rights and the space on its disk.")
        sentence = f"The result was made, but {path} could not be written: {str(error).strip()}"
        raise LimbeckError(ErrorCode.DISK_FULL, sentence, remedy) from error


def result_line(thing: bpy.types.Object | bpy.types.Image, path: Path | None, *, as_json: bool) -> str:
    """Return what is said of a finished object or picture, in one line."""
    job_id = thing["limbeck_job"]
    is_picture = isinstance(thing, bpy.types.Image)
    measures = {"width": thing.size[0], "height": thing.size[1]} if is_picture else {"faces": len(thing.data.polygons)}
    if not as_json:
        measured = f"{thing.size[0]} x {thing.size[1]} pixels" if is_picture else f"{measures['faces']} faces"
        return f"{thing.name}: {measured}, job {job_id}" + (f", in {path}" if path else "")
    described = {
        "state": "succeeded",
        "job_id": job_id,
        "name": thing.name,
        **measures,
        "file": str(path) if path else None,
        "metrics": json.loads(thing.get("limbeck_metrics", "{}")),
        "recipe": json.loads(thing["limbeck_recipe"]),
    }
    return json.dumps(described)


def _tell_error(error: LimbeckError, *, as_json: bool) -> None:
    if as_json:
        described = {"state": "failed", "code": error.code, "message": error.message, "remedy": error.remedy.label}
        print(json.dumps(described), flush=True)
    print(error, file=sys.stderr, flush=True)
