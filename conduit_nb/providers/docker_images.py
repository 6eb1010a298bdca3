"""Images for containers: pulled where they are not here, the same bytes each time.

A tag can be moved by whoever owns it, so the digest that it stood for at the first pull is written
down (`images.json` in the data folder), and a later pull asks for that.
Layer 3.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast

import filelock

from conduit_nb import settings
from conduit_nb.errors import DeploymentError, StorageError
from conduit_nb.events import Step
from conduit_nb.private_files import make_private_folder, to_storage_error, write_private_file
from conduit_nb.providers.base import Tell
from conduit_nb.providers.docker_errors import load_sdk
from conduit_nb.units import how_far

FILE_NAME = "images.json"
KNOB = "CONDUIT_DATA_DIR"
TELL_EVERY_S = 1.0
LOCK_TIMEOUT_S = 10.0
MB = 10**6
DEFAULT_TAG = "latest"
DIGEST = "Digest: "


def have_image(
    client: Any,
    image: str,
    tell: Tell,
    *,
    clock: Callable[[], float] = time.monotonic,
    is_unwanted: Callable[[], bool] = lambda: False,
) -> None:
    """Pull `image` unless the engine has it; `tell` gets how far it is.

    Raises DeploymentError where it cannot be had, or `is_unwanted` says so on the way.
    """
    sdk = load_sdk()
    try:
        client.images.get(image)
    except sdk.errors.ImageNotFound:
        _pull(client, image, tell, clock, is_unwanted)


def recorded_digest(image: str) -> str | None:
    """Return the digest that the image's tag stood for when it was first pulled here."""
    return _read().get(image, {}).get("digest")


def _pull(
    client: Any,
    image: str,
    tell: Tell,
    clock: Callable[[], float],
    is_unwanted: Callable[[], bool],
) -> None:
    repository, tag, digest = split_name(image)
    known = digest or recorded_digest(image)
    tell(f"Pulling {image}{f' as it was first pulled, {known}' if known and not digest else ''}.")
    sdk = load_sdk()
    try:
        steps = client.api.pull(repository, tag=known or tag, stream=True, decode=True)
        steps = _while_wanted(steps, image, is_unwanted)

        def say(far: str) -> None:
            tell(Step(text=f"Pulling {image}: {far}"))

        failure, came = follow_pull(steps, say, clock)
        if failure:
            raise _not_had(image, failure)
        if known and not digest:
            client.images.get(f"{repository}@{known}").tag(repository, tag)
    except sdk.errors.APIError as err:
        raise _not_had(image, str(err.explanation or type(err).__name__)) from err
    if known is None and came is not None:
        _record(image, came)
        tell(f"{image} is {came}: later pulls take just that.")


def stopped(what: str) -> DeploymentError:
    """Return what ends work that nobody waits for any more."""
    return DeploymentError(f"{what} was stopped on the way.", hint="Deploy it again.")


def _while_wanted(
    steps: Generator[Any], image: str, is_unwanted: Callable[[], bool]
) -> Iterator[Any]:
    """Yield the steps; hang up, which makes the engine end its pull, when nobody wants them."""
    with closing(steps):  # whoever keeps the error must not keep the connection
        for step in steps:
            if is_unwanted():
                raise stopped(f"The pull of {image}")
            yield step


def split_name(image: str) -> tuple[str, str, str | None]:
    """Return repository, tag and digest of an image's name."""
    name, _, digest = image.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # none, or the port of a registry
        head, tag = name, DEFAULT_TAG
    return head, tag, digest or None


def follow_pull(
    steps: Iterable[Any], tell: Callable[[str], None], clock: Callable[[], float]
) -> tuple[str, str | None]:
    """Tell now and then how much has come, over all layers.

    Returns the engine's error, or "", and the digest of what has come.
    """
    layers: dict[str, tuple[int, int]] = {}
    failure, digest, began = "", None, clock()
    told_at = began
    for step in steps:
        told = cast("dict[str, Any]", step)
        failure = str(told.get("error") or failure)
        status = str(told.get("status") or "")
        if status.startswith(DIGEST):
            digest = status.removeprefix(DIGEST)
        progress: dict[str, Any] = told.get("progressDetail") or {}
        if status == "Downloading" and progress.get("total"):
            layers[str(told.get("id"))] = (int(progress["current"]), int(progress["total"]))
        elif status == "Download complete" and str(told.get("id")) in layers:
            total = layers[str(told["id"])][1]
            layers[str(told["id"])] = (total, total)
        if layers and clock() - told_at >= TELL_EVERY_S:
            told_at = clock()
            done, total = (sum(one[part] for one in layers.values()) for part in (0, 1))
            tell(how_far(done, total, told_at - began))
    return failure, digest


def _not_had(image: str, why: str) -> DeploymentError:
    return DeploymentError(
        f"The image {image} is not here and cannot be pulled ({why}).",
        hint="Build it (conduit image build), or check its name and the network.",
    )


def _read() -> dict[str, dict[str, str]]:
    path = settings.data_dir().absolute() / FILE_NAME
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise to_storage_error(err, path, knob=KNOB) from err
    except ValueError as err:
        raise StorageError(
            f"{path} does not hold the digests of images.", hint="Delete it to begin anew."
        ) from err


def _record(image: str, digest: str) -> None:
    folder = make_private_folder(settings.data_dir().absolute(), knob=KNOB)
    with filelock.FileLock(folder / "images.lock", timeout=LOCK_TIMEOUT_S, mode=0o600):
        known = _read()
        known[image] = {"digest": digest, "first_pulled": datetime.now(UTC).isoformat()}
        content = json.dumps(known, indent=1, sort_keys=True).encode()
        write_private_file(folder / FILE_NAME, content, knob=KNOB)
