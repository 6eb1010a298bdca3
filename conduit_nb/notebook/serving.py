"""Who answers the rows of a map: asked when the first row has been answered, for its receipt.

Layer 7.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from conduit_nb.blocks.tasks import LlmTask
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import ConduitError, StorageError
from conduit_nb.models.hub import resolved_id
from conduit_nb.notebook.display import LONGEST_LINE, Shown, bounded, html_of, html_table
from conduit_nb.protocol import ModelInfo
from conduit_nb.runs import Receipt, Run
from conduit_nb.runs.receipts import MIME, keep_receipt, schema_hash
from conduit_nb.schemas import Schema
from conduit_nb.session import Session


class ReceiptView(Shown):
    """The end's line of a run and its receipt; front ends of our own get the receipt as JSON."""

    def __init__(self, receipt: Receipt, line: Shown) -> None:
        texts = {
            field.name: bounded(value, LONGEST_LINE)
            for field in dataclasses.fields(receipt)
            if isinstance(value := getattr(receipt, field.name), str)
        }
        self._receipt = dataclasses.replace(receipt, **texts)
        self._line = line

    def _text(self) -> str:
        return repr(self._line)

    def _html(self) -> str:
        table = html_table(("receipt", ""), receipt_rows(self._receipt))
        return f"{html_of(self._line)}<details><summary>Receipt</summary>{table}</details>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:  # noqa: ARG002  # Jupyter's protocol
        told = dataclasses.asdict(self._receipt)
        data = {"text/plain": self._text(), "text/html": self._html(), MIME: told}
        # Output metadata is kept where a tool strips the forms that it does not know.
        return data, {"conduit": {"receipt": told}}


def receipt_rows(receipt: Receipt) -> Sequence[tuple[str, str]]:
    """Return what a receipt says, line by line."""
    server = " ".join(part for part in (receipt.runtime, receipt.runtime_version) if part)
    model = receipt.model + (f" at {receipt.revision}" if receipt.revision else "")
    place = ", ".join(part for part in (receipt.device, receipt.provider) if part)
    rows = f"{receipt.done:,} of {receipt.rows:,}, {receipt.failed:,} failed"
    said = {
        "model": model,
        "runtime": server or "a server of one's own",
        "on": place or "not known",
        "rows": rows + (", stopped" if receipt.is_stopped else ""),
        "tokens": f"{receipt.prompt_tokens:,} read, {receipt.completion_tokens:,} written",
        "seconds": f"{receipt.seconds:,.1f}",
        "dollars": "not known" if receipt.usd is None else f"${receipt.usd:,.4f}",
        "schema": f"{receipt.title}, {receipt.schema_hash}",
        "started": receipt.started_at,
    }
    return list(said.items())


ASK_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is known of who answers; what is not is None."""

    runtime: str | None = None
    runtime_version: str | None = None
    provider: str | None = None
    deployment: str | None = None
    device: str | None = None
    revision: str | None = None
    usd_per_hour: float | None = None


class Witness:
    """Watches one map, and writes its receipt."""

    def __init__(
        self, session: Session, task: LlmTask[Any, Any], gives: Schema[Any], title: str
    ) -> None:
        self._session = session
        self._task = task
        self._title = title
        self._hash = schema_hash(gives)
        self._started = datetime.now(UTC)
        self._server = Server()
        if isinstance(task.target, DeploymentRequest):
            self._server = Server(runtime=task.target.runtime)
            if task.target.is_shared:
                self._server = replace(self._server, provider="local", usd_per_hour=0.0)

    async def look(self, run: Run[Any, Any]) -> None:
        """Ask who answers; what cannot be asked stays unknown, and is no error of the map."""
        target = self._task.target
        if target is None:
            return
        try:
            if isinstance(target, str) or not target.is_shared:
                info = await self._session.deployments.find(target)
                if info is None:
                    return
                self._server = replace(
                    self._server,
                    runtime=info.runtime,
                    provider=info.provider,
                    deployment=info.name,
                    device=info.device,
                    usd_per_hour=info.usd_per_hour or 0.0,
                    runtime_version=None if isinstance(target, str) else target.runtime_version,
                )
                run.progress.usd_per_hour = self._server.usd_per_hour
            endpoint = await self._session.endpoint(target)
            health = await endpoint.health(timeout_s=ASK_S)
            self._server = replace(
                self._server,
                deployment=self._server.deployment or endpoint.name,
                device=self._server.device or health["device"],
                runtime_version=health["version"],
            )
            self._server = replace(
                self._server,
                revision=_revision(
                    await endpoint.models(timeout_s=ASK_S), resolved_id(self._task.model_id)
                ),
            )
        except ConduitError:
            return

    def receipt(self, run: Run[Any, Any]) -> Receipt:
        """Return what the run has come to, and keep it for estimates of later ones."""
        now, server = run.progress.snapshot(), self._server
        rate = server.usd_per_hour
        receipt = Receipt(
            title=self._title,
            model=self._task.model_id,
            revision=server.revision,
            runtime=server.runtime,
            runtime_version=server.runtime_version,
            provider=server.provider,
            deployment=server.deployment,
            device=server.device,
            rows=now.total,
            done=now.done,
            failed=now.failed,
            prompt_tokens=now.prompt_tokens,
            completion_tokens=now.completion_tokens,
            seconds=round(now.elapsed_s, 3),
            usd=None if rate is None else rate * now.elapsed_s / 3600,
            started_at=self._started.isoformat(timespec="seconds"),
            schema_hash=self._hash,
            is_stopped=run.is_cancelled,
            start_seconds=round(now.start_s, 3),
        )
        with contextlib.suppress(StorageError):  # a full disk must not cost anybody their rows
            keep_receipt(receipt)
        return receipt


def _revision(models: Sequence[ModelInfo], model_id: str) -> str | None:
    for info in models:
        loaded = info.get("conduit")
        if info["id"] == model_id and loaded is not None:
            return loaded.get("revision")
    return None
