"""What servers and clients both need around replies: errors as messages, the common version, lists that must fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from limbeck_protocol import messages
from limbeck_protocol.codec import encode_message
from limbeck_protocol.errors import CodecError, ErrorCode, LimbeckError, Remedy, RemedyAction, remedy_for
from limbeck_protocol.limits import LIMITS, Limits
from limbeck_protocol.minor_versions import SETTINGS_SINCE_1_2, newer_parts

SHORTENED_FOR = "shortened for"
"""Among a recipe's `versions`: the protocol for which parts of it were left out."""


def error_reply(error: LimbeckError) -> messages.ErrorReply:
    """Return the message that tells a client of `error`."""
    return messages.ErrorReply(
        code=str(error.code), message=error.message, remedy=error.remedy, field=error.remedy.field
    )


def error_from_reply(reply: messages.ErrorReply) -> LimbeckError:
    """Return the exception that a client raises for the server's `reply`; unknown codes become INTERNAL."""
    known = reply.code in ErrorCode.__members__
    code = ErrorCode(reply.code) if known else ErrorCode.INTERNAL
    sentence = reply.message if known else f"{reply.message} ({reply.code})"
    return LimbeckError(code, sentence, reply.remedy or remedy_for(code, field=reply.field))


def choose_major(hello: messages.Hello) -> int:
    """Return the protocol version that both ends speak.

    Raises:
        LimbeckError: PROTOCOL_UNSUPPORTED, naming the older of the two.
    """
    ours = messages.PROTOCOL_MAJOR
    if hello.major_min <= ours <= hello.major_max:
        return ours
    older = "client" if hello.major_max < ours else "server"
    raise LimbeckError(
        ErrorCode.PROTOCOL_UNSUPPORTED,
        f"the client speaks protocol {hello.major_min} to {hello.major_max}, this server protocol {ours}: "
        f"the {older} is older.",
    )


def shorten_to_fit(reply: messages.Reply, limits: Limits = LIMITS) -> messages.Reply:
    """Return `reply`, or the longest beginning of its list that fits into one message.

    Only `JobList` and `Events` are ever shortened: clients ask on from the last event they got, and a list of jobs is
    promised only as far as it fits.
    """
    if isinstance(reply, messages.JobList):
        count = _longest_fitting(len(reply.jobs), lambda n: messages.JobList(jobs=reply.jobs[:n]), limits)
        return messages.JobList(jobs=reply.jobs[:count])
    if isinstance(reply, messages.Events):
        events = reply.events
        count = _longest_fitting(len(events), lambda n: msgspec.structs.replace(reply, events=events[:n]), limits)
        return msgspec.structs.replace(reply, events=events[:count])
    return reply


def _longest_fitting(length: int, shortened: Callable[[int], messages.Reply], limits: Limits) -> int:
    """Halve until it fits: cheap, and the common case is one try."""
    while length > 0:
        try:
            encode_message(shortened(length), request_id="size", limits=limits)
            return length
        except CodecError as error:
            if error.code != ErrorCode.TOO_LARGE:
                raise
            length //= 2
    return 0


def for_minor(reply: messages.Reply, minor: int) -> messages.Reply:
    """Return `reply` without what a client of that minor version cannot read.

    Clients leave out fields that they do not know, but those of 1.0 refuse a message whose arrays they do not use, and
    to those before 1.2 a loss's parameter is a number: one text among them would cost them the whole reply. Those
    before 1.3 would offer presets that make images for objects.
    """
    if minor < 1 and isinstance(reply, messages.Events):
        return msgspec.structs.replace(reply, views={})
    if minor < 1 and isinstance(reply, messages.Preview):
        return msgspec.structs.replace(reply, view=None)
    if minor < 3 and isinstance(reply, messages.Catalog):
        told = _catalog_before_1_3(reply)
        return _catalog_before_1_2(told) if minor < 2 else told
    if minor < 3 and isinstance(reply, messages.JobInfo):
        return _shortened_job(reply, minor)
    if minor < 3 and isinstance(reply, messages.JobList):
        return messages.JobList(jobs=[_shortened_job(job, minor) for job in reply.jobs])
    return reply


def _catalog_before_1_3(catalog: messages.Catalog) -> messages.Catalog:
    """Leave out presets that make images: an older client cannot ask for any."""
    return msgspec.structs.replace(catalog, presets=[preset for preset in catalog.presets if preset.makes == "object"])


def _catalog_before_1_2(catalog: messages.Catalog) -> messages.Catalog:
    """Leave out parameters that are a choice, and settings that came later: an older client cannot send them either.

    What it does not name is the preset's, so nothing is lost by its not knowing.
    """
    losses = [
        msgspec.structs.replace(loss, parameters=[info for info in loss.parameters if not info.choices])
        for loss in catalog.losses
    ]
    presets = [
        msgspec.structs.replace(
            preset,
            settings={
                name: _numbers(value) if name == "loss_parameters" else value
                for name, value in preset.settings.items()
                if name not in SETTINGS_SINCE_1_2
            },
        )
        for preset in catalog.presets
    ]
    return messages.Catalog(losses=losses, priors=catalog.priors, presets=presets)


def _shortened_job(job: messages.JobInfo, minor: int) -> messages.JobInfo:
    """Leave out what the client cannot read, and say so in the recipe: without it, it is another recipe."""
    recipe = job.recipe
    if not newer_parts(recipe, minor):
        return job
    settings = recipe.settings
    if minor < 2 and settings.loss_parameters is not msgspec.UNSET:
        settings = msgspec.structs.replace(settings, loss_parameters=_numbers(settings.loss_parameters))
    versions = {**recipe.versions, SHORTENED_FOR: f"protocol {messages.PROTOCOL_MAJOR}.{minor}"}
    shortened = msgspec.structs.replace(recipe, settings=settings, image=msgspec.UNSET, versions=versions)
    return msgspec.structs.replace(job, recipe=shortened)


def _numbers(parameters: Mapping[str, float | str]) -> dict[str, float | str]:
    return {name: value for name, value in parameters.items() if not isinstance(value, str)}


def wrong_program(sentence: str) -> LimbeckError:
    """Return the error for what is no server of ours: unlike with a refused key, copying a key would not help."""
    remedy = Remedy(action=RemedyAction.RETRY, label="Start the server there, or correct its address and key.")
    return LimbeckError(ErrorCode.ACCESS_DENIED, sentence, remedy)


def wrong_version(welcome: messages.Welcome) -> LimbeckError:
    """Return the error for a server that welcomes us in a version that we do not speak."""
    older = "server" if welcome.major < messages.PROTOCOL_MAJOR else "client"
    sentence = (
        f"The server ({welcome.server}) speaks protocol {welcome.major}, this client {messages.PROTOCOL_MAJOR}: "
        f"the {older} is older."
    )
    return LimbeckError(ErrorCode.PROTOCOL_UNSUPPORTED, sentence)
