"""Logits to tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from conduit_nb.lmlite.guided import Masks
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampling_params import SamplingParams


def choose_tokens(
    logits: torch.Tensor, replies: Sequence[Reply], masks: Masks
) -> list[SampledToken]:
    """Return the next token of each reply from logits `[replies, vocab]` (which it changes)."""
    logits = logits.float()
    for index, reply in enumerate(replies):
        if reply.sampling.has_penalties:
            _penalise(logits[index], reply)
    guided = [index for index, reply in enumerate(replies) if reply.guide]
    if guided:
        guides = [guide for reply in replies if (guide := reply.guide)]
        not_allowed = masks.forbidden(guides)
        for number, index in enumerate(guided):
            token = replies[index].escape_token(not_allowed[number])
            if token is not None:
                not_allowed[number] = True
                not_allowed[number, token] = False
        forbidden = torch.as_tensor(not_allowed, device=logits.device)
        if len(guided) == len(replies):
            logits.masked_fill_(forbidden, -torch.inf)
        else:
            indices = torch.tensor(guided, device=logits.device)
            logits[indices] = logits[indices].masked_fill(forbidden, -torch.inf)
    for index, reply in enumerate(replies):
        if not reply.may_end:
            _go_on(logits[index], reply)
    tokens = [int(token) for token in logits.argmax(dim=-1)]
    for index, reply in enumerate(replies):
        if not reply.sampling.is_greedy:
            tokens[index] = _drawn(logits[index], reply)
    return [
        _measured(logits[index], token, reply.sampling.top_logprobs or 0)
        if reply.is_measured
        else SampledToken(token=token)
        for index, (token, reply) in enumerate(zip(tokens, replies, strict=True))
    ]


def _go_on(logits: torch.Tensor, reply: Reply) -> None:
    """Take what ends a reply out of logits `[vocab]`, in place, where anything else may come."""
    ends = torch.tensor(
        [token for token in reply.end_tokens if token < len(logits)], device=logits.device
    )
    if not len(ends):
        return
    kept = logits[ends]
    logits[ends] = -torch.inf
    if logits.max() == -torch.inf:
        logits[ends] = kept


def _penalise(logits: torch.Tensor, reply: Reply) -> None:
    """Move the logits `[vocab]` of tokens that were read or written, in place."""
    parameters = reply.sampling
    if parameters.repetition_penalty != 1:
        seen = torch.tensor(list(set(reply.sequence.tokens)), device=logits.device)
        before = logits[seen]
        by = parameters.repetition_penalty
        logits[seen] = torch.where(before > 0, before / by, before * by)
    if times := Counter(reply.written):
        tokens = torch.tensor(list(times), device=logits.device)
        counts = torch.tensor(list(times.values()), device=logits.device)
        logits[tokens] -= parameters.presence_penalty + parameters.frequency_penalty * counts


def _drawn(logits: torch.Tensor, reply: Reply) -> int:
    """Draw from logits `[vocab]` with the reply's own numbers.

    The inverse of the cumulative distribution is taken in the order of the vocabulary, never in
    that of the probabilities: batch-mates move logits by rounding errors, which may swap two
    likely tokens in a sorted list, but hardly ever move a border across the drawn number.
    """
    weights = _weights(logits, reply.sampling)
    borders = weights.cumsum(dim=-1)
    drawn = reply.draws.random() * borders[-1].item()
    token = int(torch.searchsorted(borders, drawn, right=True).item())
    return min(token, int(weights.nonzero()[-1].item()))


def _weights(logits: torch.Tensor, parameters: SamplingParams) -> torch.Tensor:
    """Return what to draw by, `[vocab]` on the CPU; what was cut off has 0, the sum is any."""
    weights = torch.softmax(logits.cpu().double() / parameters.temperature, dim=-1)
    if parameters.min_p > 0:
        weights = weights.where(weights >= parameters.min_p * weights.max(), 0)
    if 0 < parameters.top_k < len(weights):
        weights = weights.where(weights >= weights.topk(parameters.top_k).values[-1], 0)
    if parameters.top_p < 1:
        ordered, _ = weights.sort(descending=True)
        sums = ordered.cumsum(dim=-1)
        cutoff = ordered[sums - ordered < parameters.top_p * sums[-1]][-1]
        weights = weights.where(weights >= cutoff, 0)
    return weights


def _measured(logits: torch.Tensor, token: int, top: int) -> SampledToken:
    """Return the token with its log probability by logits `[vocab]`, and the `top` likeliest."""
    logprobs = torch.log_softmax(logits, dim=-1)
    values, tokens = logprobs.topk(min(top, len(logprobs)))
    likeliest = [(int(one), float(value)) for one, value in zip(tokens, values, strict=True)]
    return SampledToken(
        token=token,
        logprob=logprobs[token].item(),
        top=tuple((one, value) for one, value in likeliest if value > -torch.inf),
    )
