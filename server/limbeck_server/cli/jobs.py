"""`limbeck jobs`: list, show, follow, cancel, fetch. And `limbeck status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from limbeck_protocol.client import Client

app = typer.Typer(help="Jobs of the running server: list, show, follow, cancel, fetch.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as `limbeck jobs list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def _running_server() -> Client:
    from limbeck_protocol.client import Client

    return Client.discover(name="limbeck command line")


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List the newest jobs."""
    from datetime import datetime

    from limbeck_server.cli.output import job_summary, print_json

    with _running_server() as client:
        jobs = client.jobs(limit=limit).jobs
    if as_json:
        print_json({"jobs": [job_summary(job) for job in jobs]})
        return
    for job in jobs:
        when = datetime.fromtimestamp(job.created).strftime("%Y-%m-%d %H:%M")
        step = f"{job.progress.step}/{job.progress.steps}" if job.progress else ""
        print(f"{job.job_id}  {when}  {job.state:<10} {step:>9}  {job.recipe.loss:<5} {job.recipe.prompt}")


@app.command("show")
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job: its state, recipe, artifacts and metrics."""
    from limbeck_protocol.recipe import recipe_to_json

    from limbeck_server.cli.generate import metric_lines
    from limbeck_server.cli.output import job_summary, print_json

    with _running_server() as client:
        job = client.job(job_id)
    if as_json:
        print_json(job_summary(job))
        return
    print(f"{job.job_id}  {job.state}  {job.recipe.prompt!r}")
    if job.error:
        print(f"  {job.error.code}: {job.error.message}")
    for artifact in job.artifacts:
        print(f"  {artifact.name:<28} {artifact.size_bytes} bytes")
    print("\n".join(metric_lines(job.metrics)))
    print(recipe_to_json(job.recipe))


@app.command("follow")
def follow(job_id: JobId, as_json: AsJson = False) -> None:
    """Watch a job until it ends."""
    from limbeck_server.cli.generate import raise_unless_succeeded
    from limbeck_server.cli.output import JobDisplay, job_summary, print_json, say

    with _running_server() as client, JobDisplay().running() as display:
        job = client.follow(job_id, on_event=display.on_event, on_progress=display.on_progress)
    if as_json:
        print_json(job_summary(job))
    raise_unless_succeeded(job)
    say(f"Job {job.job_id} {job.state}.")


@app.command("cancel")
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job that waits or runs."""
    from limbeck_server.cli.output import job_summary, print_json, say

    with _running_server() as client:
        job = client.cancel(job_id)
    if as_json:
        print_json(job_summary(job))
    say(f"Job {job.job_id} is {job.state}.")


@app.command("fetch")
def fetch(
    job_id: JobId,
    name: Annotated[
        str | None, typer.Argument(help="Which artifact; by default mesh.glb, or image.png of a picture.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where it goes; its own name by default.")] = None,
) -> None:
    """Fetch an artifact of a job."""
    from limbeck_server.cli.output import check_writable, say

    with _running_server() as client:
        if name is None:
            name = "image.png" if client.job(job_id).recipe.image else "mesh.glb"
        out = out or Path(name)
        check_writable(out)
        client.fetch_artifact(job_id, name, out)
    say(str(out))


def status(as_json: AsJson = False) -> None:
    """Show what the running server is doing."""
    from limbeck_server.cli.output import print_json

    with _running_server() as client:
        answer = client.status()
    if as_json:
        print_json(answer)
        return
    print(f"{answer.server}, up {answer.seconds_up:.0f} s: {answer.running} running, {answer.queued} queued")
    print(f"device: {answer.device}; free disk: {answer.data_folder_free_bytes / 2**30:.1f} GiB")
