"""Recorded bytes of every message type: what a release has once sent is understood by every later one.

`python tests/shared_protocol/test_golden.py` records the messages of the current protocol version where they are
missing. Recorded files are never changed: a change of what they hold is a new protocol version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from limbeck_protocol import messages as m
from limbeck_protocol.codec import (
    decode_reply,
    decode_request,
    decode_worker_event,
    encode_message,
    pack_frames,
    unpack_frames,
)
from limbeck_protocol.errors import ErrorCode, remedy_for
from limbeck_protocol.job_states import JobState
from limbeck_protocol.recipe import Cameras, Image, Orbit, Recipe, Rig, Settings, Start

CORPUS = Path(__file__).parent / "golden"
CURRENT = f"{m.PROTOCOL_MAJOR}.{m.PROTOCOL_MINOR}"
JOB = "01JD4ZK7Q5R8M2N3P4S5T6V7W8"
OTHER_JOB = "01JD4ZK7Q5R8M2N3P4S5T6V7WB"


def sample_recipe() -> Recipe:
    matrices = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    matrices[:, 2, 3] = 2.0
    cameras = Cameras(
        camera_to_world=matrices,
        lens=np.array([[1.4, 0.0, 0.0], [1.0, 0.1, -0.1]], np.float32),
        weight=np.array([1.0, 2.0], np.float32),
        prompt_suffix=["", ", seen from above"],
        position_jitter=0.01,
    )
    settings = Settings(
        steps=300,
        guidance_scale=2.0,
        loss_parameters={"bandwidth": 0.3, "sampler": "product"},
        render_size=[(0.0, 32), (0.5, 64)],
        timestep_min=0.02,
        timestep_max=[(0.0, 0.98), (1.0, 0.5)],
        regularizers={"sparsity": [(0.0, 0.1), (1.0, 1.0)]},
        density_level=None,
        device="cpu",
    )
    return Recipe(
        prompt="a yellow duck",
        negative_prompt="",
        loss="msd",
        preset="quick",
        seed=7,
        rig=Rig(orbit=Orbit(), cameras=cameras),
        settings=settings,
        versions={"limbeck": "0.1.0"},
    )


def samples() -> dict[str, Any]:
    """One message of every type, or more, by file name."""
    recipe = sample_recipe()
    edit = Recipe(prompt="a blue duck", loss="dds", start=Start(job_id=JOB, prompt="a yellow duck"))
    picture = Recipe(prompt="a red mug", preset="image", prior="network", image=Image(generator="mlp", size=64))
    error = m.ErrorReply(
        code=ErrorCode.NO_SURFACE,
        message="No surface was found.",
        remedy=remedy_for(ErrorCode.NO_SURFACE, field="recipe.settings.density_level"),
        field="recipe.settings.density_level",
    )
    progress = m.Progress(
        phase="optimise", step=20, steps=300, loss=0.25, seconds=3.5, seconds_left=40.0, prior_evaluations=40
    )
    artifact = m.Artifact(name="mesh.glb", size_bytes=5, digest="ab" * 32, media_type="model/gltf-binary")
    job = m.JobInfo(
        job_id=JOB,
        state=JobState.FAILED,
        recipe=recipe,
        created=1.7e9,
        ended=1.7e9 + 60,
        attempt=1,
        progress=progress,
        artifacts=[artifact],
        metrics={"iou": 0.8, "start": {"iou": 0.25}},
        error=error,
    )
    queued = m.JobInfo(job_id=JOB, state=JobState.QUEUED, recipe=Recipe(prompt="a red cube"), created=1.7e9)
    viewer = m.ViewerCamera(
        camera_to_world=recipe.rig.cameras.camera_to_world[0],  # type: ignore[union-attr]
        lens=np.array([1.4, 0.0, 0.0], np.float32),
    )
    view = m.View(camera_to_world=viewer.camera_to_world, lens=viewer.lens)
    event = m.Event(sequence=12, job_id=JOB, time=1.7e9, kind="state", data={"state": "running"})
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    see_through = np.arange(2 * 2 * 4, dtype=np.uint8).reshape(2, 2, 4)
    return {
        "request-hello": m.Hello(major_min=1, major_max=1, client="limbeck-blender 0.1.0"),
        "request-submit": m.Submit(job_id=JOB, recipe=recipe),
        "request-submit-plain": m.Submit(job_id=JOB, recipe=Recipe(prompt="a red cube")),
        "request-submit-start": m.Submit(job_id=OTHER_JOB, recipe=edit),
        "request-submit-image": m.Submit(job_id=OTHER_JOB, recipe=picture),
        "request-submit-image-plain": m.Submit(job_id=JOB, recipe=Recipe(prompt="a red mug", image=Image())),
        "request-get": m.GetJob(job_id=JOB),
        "request-list": m.ListJobs(limit=20),
        "request-cancel": m.CancelJob(job_id=JOB),
        "request-events": m.GetEvents(after_sequence=11, job_id=JOB, limit=100, wait_ms=500),
        "request-events-all": m.GetEvents(),
        "request-preview": m.GetPreview(job_id=JOB, after_generation=3, wait_ms=5000),
        "request-preview-viewer": m.GetPreview(job_id=JOB, viewer=viewer),
        "request-preview-viewer-large": m.GetPreview(job_id=JOB, viewer=msgspec.structs.replace(viewer, size=128)),
        "request-artifact-stat": m.StatArtifact(job_id=JOB, name="mesh.glb"),
        "request-artifact-read": m.ReadArtifact(job_id=JOB, name="mesh.glb", offset=1 << 20, length=1 << 20),
        "request-status": m.GetStatus(),
        "request-catalog": m.GetCatalog(),
        "reply-welcome": m.Welcome(
            major=1,
            minor=3,
            server="limbeck-server 0.1.0",
            store_id="s" * 16,
            boot_id="b" * 16,
            limits={"cameras": 512},
        ),
        "reply-error": error,
        "reply-error-plain": m.ErrorReply(code="INTERNAL", message="It broke."),
        "reply-job": job,
        "reply-job-queued": queued,
        "reply-job-edit": m.JobInfo(job_id=OTHER_JOB, state=JobState.QUEUED, recipe=edit, created=1.7e9),
        "reply-job-image": m.JobInfo(
            job_id=OTHER_JOB,
            state=JobState.SUCCEEDED,
            recipe=picture,
            created=1.7e9,
            ended=1.7e9 + 30,
            artifacts=[m.Artifact(name="image.png", size_bytes=9, digest="cd" * 32, media_type="image/png")],
        ),
        "reply-jobs": m.JobList(jobs=[queued, job]),
        "reply-events": m.Events(events=[event], last_sequence=12, progress={JOB: progress}, views={JOB: view}),
        "reply-preview": m.Preview(job_id=JOB, generation=4, step=20, image=image),
        "reply-preview-viewer": m.Preview(
            job_id=JOB, generation=5, step=21, image=see_through, from_viewer=True, view=view
        ),
        "reply-preview-none": m.Preview(job_id=JOB, generation=4, step=20),
        "reply-artifact-info": m.ArtifactInfo(artifact=artifact),
        "reply-artifact-chunk": m.ArtifactChunk(offset=0, data=np.frombuffer(b"glTF\0", np.uint8)),
        "reply-status": m.Status(
            server="limbeck-server 0.1.0",
            seconds_up=12.5,
            queued=1,
            running=1,
            data_folder_free_bytes=1 << 33,
            device="cpu",
        ),
        "reply-catalog": m.Catalog(
            losses=[
                m.LossInfo(
                    name="nfsd",
                    title="NFSD",
                    description="Noise-free score distillation.",
                    parameters=[
                        m.ParameterInfo(
                            name="threshold", default=0.2, minimum=0.0, maximum=1.0, description="Of the timestep."
                        )
                    ],
                ),
                m.LossInfo(
                    name="msd",
                    title="MSD",
                    description="Mean-shift distillation.",
                    parameters=[
                        m.ParameterInfo(
                            name="sampler",
                            default="splitting",
                            minimum=0.0,
                            maximum=0.0,
                            description="How the sample is drawn.",
                            choices=["splitting", "product"],
                        )
                    ],
                ),
            ],
            priors=[
                m.PriorInfo(
                    name="exact",
                    title="Exact",
                    description="Closed form.",
                    installed=True,
                    vocabulary={"shape": ["duck"]},
                )
            ],
            presets=[
                m.PresetInfo(
                    name="quick",
                    loss="sds",
                    prior="exact",
                    description="Seconds.",
                    settings={"steps": 300},
                    sources={"steps": "tuned"},
                ),
                m.PresetInfo(
                    name="image", loss="sds", prior="network", description="A picture.", settings={}, makes="image"
                ),
            ],
        ),
        "worker-phase": m.PhaseStarted(name="views", title="Rendering the known world"),
        "worker-progress": m.WorkerProgress(progress=progress, view=view),
        "worker-preview": m.PreviewReady(step=20, image=image),
        "worker-preview-viewer": m.PreviewReady(step=21, image=see_through, from_viewer=True, view=view),
        "worker-notice": m.Notice(text="Dropped 3 small components."),
        "worker-artifact": m.ArtifactWritten(name="mesh.glb", media_type="model/gltf-binary"),
        "worker-finished": m.Finished(metrics={"iou": 0.8}),
        "worker-failed": m.WorkerFailed(
            code=ErrorCode.NO_SURFACE, message="No surface was found.", remedy=remedy_for(ErrorCode.NO_SURFACE)
        ),
    }


def blob_of(name: str, message: Any) -> bytes:
    reply_to = "01JD4ZK7Q5R8M2N3P4S5T6V7W9" if name.startswith("reply-") else None
    return pack_frames(encode_message(message, request_id="01JD4ZK7Q5R8M2N3P4S5T6V7WA", reply_to=reply_to))


def write_corpus() -> None:
    """Record what is missing of the current version; what is recorded stays."""
    folder = CORPUS / CURRENT
    folder.mkdir(parents=True, exist_ok=True)
    for name, message in samples().items():
        path = folder / f"{name}.bin"
        if not path.exists():
            path.write_bytes(blob_of(name, message))


def decode_blob(path: Path) -> Any:
    kind = path.name.split("-")[0]
    decode: Any = {"request": decode_request, "reply": decode_reply, "worker": decode_worker_event}[kind]
    return decode(unpack_frames(path.read_bytes()))


RECORDED = sorted(CORPUS.glob("*/*.bin"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recorded_message_is_understood(path: Path) -> None:
    assert f"{decode_blob(path).major}.{decode_blob(path).minor}" == path.parent.name


@pytest.mark.parametrize("name", samples())
def test_todays_messages_are_the_recorded_bytes(name: str) -> None:
    recorded = (CORPUS / CURRENT / f"{name}.bin").read_bytes()
    assert blob_of(name, samples()[name]) == recorded
    envelope = decode_blob(CORPUS / CURRENT / f"{name}.bin")
    again = encode_message(envelope.message, request_id=envelope.request_id, reply_to=envelope.reply_to)
    assert pack_frames(again) == recorded


def test_no_message_type_is_missing_from_the_corpus() -> None:
    kinds = {*get_args(m.AnyRequest), *get_args(m.AnyReply), *get_args(m.AnyWorkerEvent)}
    assert {type(message) for message in samples().values()} == kinds
    assert {path.stem for path in RECORDED if path.parent.name == CURRENT} == set(samples())


if __name__ == "__main__":
    write_corpus()
