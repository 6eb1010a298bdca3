"""Models in the Hugging Face cache and on the hub.

A cached model is used without a request to the hub, so that it works offline as well; a `revision`
selects another one. The cache is read by its documented layout: huggingface_hub is needed only for
downloads.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote
from urllib.request import getproxies

import httpx2

from conduit_nb import credentials, http_clients, settings
from conduit_nb.errors import ConduitError, MissingExtraError, ModelFilesError, ModelNotFoundError
from conduit_nb.models.cache import require_space, storage_error, storage_errors
from conduit_nb.models.files import (
    UNSAFE_SUFFIXES,
    ModelFiles,
    Progress,
    check_model_folder,
)
from conduit_nb.units import how_far

T = TypeVar("T")

CACHE_VARIABLE = "HF_HUB_CACHE"
CACHE_VARIABLES = (CACHE_VARIABLE, "HUGGINGFACE_HUB_CACHE")
DEFAULT_REVISION = "main"
FIRST_ERROR, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 400, 401, 403, 404
COMMIT = re.compile(r"[0-9a-f]{40}")
REQUEST_TIMEOUT_S = 8.0
ANSWER_TIMEOUT_S = 15.0
PROGRESS_S = 1.0
GGUFS_SHOWN = 8
OPEN_FOR_S = 60.0
_given_client: dict[str, object] = {}
_known_open: dict[str, tuple[float, bool | None]] = {}
MODEL_FILES = re.compile(
    r"[^/]+\.safetensors|model\.safetensors\.index\.json|config\.json|generation_config\.json"
    r"|tokenizer[^/]*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
    r"|chat_template\.(jinja|json)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """A repository at one commit: file names and bytes."""

    commit: str
    bytes_of: dict[str, int]


def cached_files(model_id: str, revision: str | None) -> ModelFiles | None:
    """Return the model from the cache, None where it is missing or incomplete."""
    folder = cached_snapshot(model_id, revision)
    if folder is None:
        return None
    try:
        check_model_folder(folder)
    except ModelFilesError:
        return None
    return ModelFiles(model_id=model_id, revision=folder.name, folder=folder, format="safetensors")


def cached_snapshot(model_id: str, revision: str | None) -> Path | None:
    """Return the model's folder in the cache; it has a config.json, and maybe no weights."""
    repository = _repository(model_id)
    commit = _cached_commit(repository, revision or DEFAULT_REVISION)
    folder = repository / "snapshots" / commit if commit is not None else None
    return folder if folder is not None and (folder / "config.json").is_file() else None


def cached_ids() -> list[str]:
    """Return the ids of the complete models in the cache."""
    names = sorted(path.name for path in hub_cache().glob("models--*") if path.is_dir())
    ids = (name.removeprefix("models--").replace("--", "/") for name in names)
    return [model_id for model_id in ids if cached_files(model_id, None) is not None]


def fetched_files(model_id: str, revision: str | None, *, progress: Progress) -> ModelFiles:
    """Download the model from the hub into its cache.

    Raises ModelNotFoundError where the hub has no such model or cannot be reached,
    ModelFilesError where it has no safetensors, StorageError where the cache cannot store it.
    """
    request = _HubRequest(model_id, revision)
    progress(f"asking the hub for {model_id}")
    listing = request.ask(lambda: _listing(model_id, revision))
    bytes_of = {
        name: size for name, size in listing.bytes_of.items() if MODEL_FILES.fullmatch(name)
    }
    total = sum(bytes_of.values())
    _require_safetensors(model_id, listing.bytes_of)
    repository = _repository(model_id)
    with storage_errors(repository, variable=CACHE_VARIABLE):
        repository.mkdir(parents=True, exist_ok=True)
    require_space(repository, total, what=model_id, variable=CACHE_VARIABLE)
    with _FetchProgress(repository, model_id, total, progress):
        for name in sorted(bytes_of, key=lambda name: bytes_of[name]):
            request.translate(lambda name=name: _fetch(model_id, listing.commit, name))
    folder = repository / "snapshots" / listing.commit
    check_model_folder(folder)
    # Last, so that a name never leads to a model of which only a part is there.
    _write_ref(repository, revision or DEFAULT_REVISION, listing.commit)
    return ModelFiles(
        model_id=model_id, revision=listing.commit, folder=folder, format="safetensors"
    )


def hub_cache() -> Path:
    """Return the cache's folder; huggingface_hub reads the same variables, once, when imported."""
    for name in CACHE_VARIABLES:
        if folder := os.environ.get(name):
            return credentials.expanded(folder)
    return credentials.hub_home() / "hub"


def is_offline() -> bool:
    """Return whether requests to the hub are disabled, by our setting or the hub's own."""
    return settings.offline() or any(map(_is_on, ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")))


def hub_url() -> str:
    """Return the hub's address (`HF_ENDPOINT`, else the public one)."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_token() -> str | None:
    """Return the user's token for the hub, None where there is none or it must not be sent.

    The token of a browser login is renewed where huggingface_hub is installed. Raises
    CredentialsError where the file of the login is malformed.
    """
    found = None if _is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") else credentials.find(credentials.HUB)
    if found is None or found.source in credentials.HUB.variables:
        return found.value if found is not None else None
    if not Path(found.source).with_name("stored_tokens").is_file():
        return found.value
    try:
        library = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError:
        return found.value
    # It has read the variables once, when it was first imported.
    is_same = found.source == library.constants.HF_TOKEN_PATH
    return (library.get_token() if is_same else None) or found.value


def is_open(model_id: str, revision: str | None) -> bool | None:
    """Return whether the hub serves the model without a token, None where that is unknown.

    The answer is cached for a minute: a deployment needs it for each offering that it tries.
    """
    if is_offline():
        return None
    url = f"{hub_url()}/{quote(model_id)}/resolve/{quoted(revision)}/config.json"
    known = _known_open.get(url)
    if known is None or time.monotonic() - known[0] > OPEN_FOR_S:
        known = _known_open[url] = (time.monotonic(), _ask_open(url))
    return known[1]


def _ask_open(url: str) -> bool | None:
    try:
        with http_clients.client(url, timeout=REQUEST_TIMEOUT_S) as client:
            answer = client.head(url)
    except httpx2.HTTPError:
        return None
    if answer.status_code in (UNAUTHORIZED, FORBIDDEN):
        return False
    if answer.status_code == NOT_FOUND:
        return answer.headers.get("X-Error-Code") == "EntryNotFound"
    return True if answer.status_code < FIRST_ERROR else None


def quoted(revision: str | None) -> str:
    """Return a revision quoted as one segment of a URL, `refs/pr/1` too."""
    return quote(revision or DEFAULT_REVISION, safe="")


def access_hint(model_id: str) -> str:
    """Return the hint for a model to which the hub denies access."""
    found = credentials.find(credentials.HUB)
    terms = f"Accept its terms on {hub_url()}/{model_id}"
    if found is None:
        return f"{terms}. {credentials.HUB.cure}"
    return f"{terms} with the account that the token in {found.source} belongs to."


def refused_token(model_id: str) -> ModelNotFoundError:
    """Return the error for a token that is invalid or expired."""
    found = credentials.find(credentials.HUB)
    source = found.source if found is not None else credentials.HUB.variables[0]
    return ModelNotFoundError(
        f"The hub refused the token in {source} when it was asked for {model_id} (HTTP 401).",
        reason="access",
        hint=f"The token is wrong or has expired: replace it, or run `{credentials.HUB.login}`.",
    )


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")


def _library(name: str) -> Any:
    # Not imported at the top: it comes with the extra "lmlite", so a light environment must be
    # able to import this file without it, and it takes 0.3 s.
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as err:
        raise MissingExtraError(
            f"Fetching a model from the hub needs {name.partition('.')[0]}.",
            hint='pip install "conduit-nb[lmlite]"',
        ) from err


def _hub_library() -> Any:
    """Return huggingface_hub, with an HTTP client of ours where its own would not work.

    Its own ignores REQUESTS_CA_BUNDLE, uses a proxy for a local hub, and keeps the proxies that
    were set when it was first used.
    """
    library = _library("huggingface_hub")
    http_clients.client(hub_url()).close()  # raises where certificates or a proxy are invalid
    named = http_clients.certificate_file()
    proxies = getproxies()
    client_key = (hub_url(), named, tuple(proxies.items()))
    is_here = http_clients.is_loopback(hub_url())
    if (named or proxies or is_here or _given_client) and _given_client.get("for") != client_key:
        library.set_client_factory(
            lambda: http_clients.client(client_key[0], follow_redirects=True, timeout=None)
        )
        _given_client["for"] = client_key
    return library


def _listing(model_id: str, revision: str | None) -> _Listing:
    api = _hub_library().HfApi(endpoint=hub_url(), token=hub_token())
    info = api.model_info(
        model_id, revision=revision, timeout=REQUEST_TIMEOUT_S, files_metadata=True
    )
    return _Listing(
        commit=info.sha, bytes_of={file.rfilename: file.size or 0 for file in info.siblings}
    )


def _fetch(model_id: str, commit: str, name: str) -> None:
    _hub_library().hf_hub_download(
        model_id,
        name,
        revision=commit,
        cache_dir=hub_cache(),
        endpoint=hub_url(),
        token=hub_token(),
        etag_timeout=REQUEST_TIMEOUT_S,
        # Progress is reported in lines, not as a bar.
        tqdm_class=functools.partial(_library("tqdm").tqdm, disable=True),
    )


class _HubRequest:
    """A request for a model, named in the errors that it raises."""

    def __init__(self, model_id: str, revision: str | None) -> None:
        self._id = model_id
        self._revision = revision

    def ask(self, work: Callable[[], T]) -> T:
        """Return `work()`, or fail after ANSWER_TIMEOUT_S: name resolution has no timeout.

        A thread that is not awaited any more ends with the process.
        """
        answers: list[T] = []
        failures: list[ConduitError] = []

        def run() -> None:
            try:
                answers.append(self.translate(work))
            except ConduitError as err:
                failures.append(err)

        thread = threading.Thread(target=run, name="conduit-hub", daemon=True)
        thread.start()
        thread.join(ANSWER_TIMEOUT_S)
        if failures:
            raise failures[0]
        if not answers:
            raise self._unreachable(f"no answer in {ANSWER_TIMEOUT_S:.0f} s")
        return answers[0]

    def translate(self, work: Callable[[], T]) -> T:
        """Return `work()`; errors of huggingface_hub are raised as ours."""
        errors = _library("huggingface_hub.errors")
        try:
            return work()
        except errors.GatedRepoError as err:
            raise ModelNotFoundError(
                f"{self._id} may only be fetched by those who accepted its terms.",
                reason="access",
                hint=access_hint(self._id),
            ) from err
        except errors.RepositoryNotFoundError as err:
            raise ModelNotFoundError(
                f"The hub has no model {self._id!r}, or it is private.",
                reason="missing",
                hint=f"Check the spelling. For a private model: {credentials.HUB.cure}",
            ) from err
        except errors.RevisionNotFoundError as err:
            raise ModelNotFoundError(
                f"{self._id} has no revision {self._revision!r}.",
                reason="missing",
                hint="Name a branch, a tag or a whole commit, or leave revision out.",
            ) from err
        except errors.HfHubHTTPError as err:
            if err.response.status_code == UNAUTHORIZED and hub_token() is not None:
                raise refused_token(self._id) from err
            raise self._unreachable(f"it answered {err.response.status_code}") from err
        except (httpx2.HTTPError, errors.OfflineModeIsEnabled, errors.EntryNotFoundError) as err:
            raise self._unreachable(str(err).splitlines()[0]) from err
        except (KeyError, TypeError, ValueError) as err:  # a mirror, or a page of a login
            raise self._unreachable("its answer is not a model hub's") from err
        except OSError as err:
            raise storage_error(err, hub_cache(), variable=CACHE_VARIABLE) from err

    def _unreachable(self, reason: str) -> ModelNotFoundError:
        return ModelNotFoundError(
            f"{self._id} is not on this machine, and {hub_url()} cannot be reached: {reason}.",
            reason="unreachable",
            hint="Connect once to fetch it, or use a model that is here.",
        )


class _FetchProgress:
    """Reports, inside a `with`, how many bytes of a model were received."""

    def __init__(self, repository: Path, model_id: str, total: int, progress: Progress) -> None:
        self._blobs = repository / "blobs"
        self._model_id = model_id
        self._before = _bytes_in(self._blobs)
        self._total = total
        self._progress = progress
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conduit-fetch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        self._report(0)
        shown = 0
        while not self._ended.wait(PROGRESS_S):
            here = min(_bytes_in(self._blobs) - self._before, self._total)
            if here > shown:
                shown = here
                self._report(here)

    def _report(self, here: int) -> None:
        far = how_far(here, self._total, time.monotonic() - self._began)
        self._progress(f"fetching {self._model_id}: {far}")


def _repository(model_id: str) -> Path:
    return hub_cache() / f"models--{model_id.replace('/', '--')}"


def _cached_commit(repository: Path, revision: str) -> str | None:
    if COMMIT.fullmatch(revision):
        return revision
    ref = repository / "refs" / revision
    try:
        if not ref.resolve().is_relative_to((repository / "refs").resolve()):
            return None
        commit = ref.read_text().strip()
    except OSError:
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _write_ref(repository: Path, revision: str, commit: str) -> None:
    if COMMIT.fullmatch(revision):
        return
    ref = repository / "refs" / revision
    with storage_errors(repository, variable=CACHE_VARIABLE):
        ref.parent.mkdir(parents=True, exist_ok=True)
        begun = ref.with_name(f".{ref.name}.{os.getpid()}")
        begun.write_text(commit)
        begun.replace(ref)


def refuse_ggufs(model_id: str, names: Collection[str]) -> None:
    """Raise ModelFilesError, naming them, where a model's weights are GGUF files alone."""
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if not ggufs or any(name.endswith(".safetensors") for name in names):
        return
    more = f" and {len(ggufs) - GGUFS_SHOWN} more" if len(ggufs) > GGUFS_SHOWN else ""
    raise ModelFilesError(
        f"{model_id} has its weights as GGUF files only: {', '.join(ggufs[:GGUFS_SHOWN])}{more}.",
        hint=f"Fetch one (`hf download {model_id} {ggufs[0]} --local-dir .`) and name its path: "
        "LmLite converts and serves it. llama.cpp serves it as it is: "
        f"`llama-server --hf-repo {model_id}`, then endpoint=URL. For vLLM name the model that it "
        "was made from.",
    )


def _require_safetensors(model_id: str, names: dict[str, int]) -> None:
    if any(name.endswith(".safetensors") and "/" not in name for name in names):
        return
    refuse_ggufs(model_id, names)
    unsafe = sorted(name for name in names if Path(name).suffix in UNSAFE_SUFFIXES)
    if unsafe:
        raise ModelFilesError(
            f"{model_id} has weights only as {unsafe[0]}: such files can run code when loaded.",
            hint="Name a model, or a revision of it, that has safetensors files.",
        )
    raise ModelFilesError(
        f"{model_id} has no weights in safetensors files.",
        hint="Check that it is a language model and not, for example, an adapter.",
    )


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # renamed meanwhile
            continue
    return total
