"""Logits to tokens.

Layer 3: torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from conduit_nb.lmlite.guided import Masks
from conduit_nb.lmlite.reply import Reply


def choose_tokens(logits: torch.Tensor, replies: Sequence[Reply], masks: Masks) -> list[int]:
    """Return the next token of each reply from logits `[replies, vocab]` (which it changes)."""
    logits = logits.float()
    guided = [index for index, reply in enumerate(replies) if reply.guide]
    if guided:
        guides = [guide for reply in replies if (guide := reply.guide)]
        not_allowed = masks.forbidden(guides)
        for row, index in enumerate(guided):
            token = replies[index].way_out(not_allowed[row])
            if token is not None:
                not_allowed[row] = True
                not_allowed[row, token] = False
        forbidden = torch.as_tensor(not_allowed, device=logits.device)
        if len(guided) == len(replies):
            logits.masked_fill_(forbidden, -torch.inf)
        else:
            rows = torch.tensor(guided, device=logits.device)
            logits[rows] = logits[rows].masked_fill(forbidden, -torch.inf)
    tokens = [int(token) for token in logits.argmax(dim=-1)]
    for index, reply in enumerate(replies):
        if not reply.sampling.is_greedy:
            tokens[index] = _drawn(logits[index], reply)
    return tokens


def _drawn(logits: torch.Tensor, reply: Reply) -> int:
    """Draw from logits `[vocab]` with the reply's own numbers.

    The inverse of the cumulative distribution is taken in the order of the vocabulary, never in
    that of the probabilities: batch-mates move logits by rounding errors, which may swap two
    likely tokens in a sorted list, but hardly ever move a border across the drawn number.
    """
    parameters = reply.sampling
    weights = torch.softmax(logits.cpu().double() / parameters.temperature, dim=-1)
    if parameters.top_p < 1:
        ordered, _ = weights.sort(descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        least = ordered[before < parameters.top_p][-1]
        weights = weights.where(weights >= least, 0)
    borders = weights.cumsum(dim=-1)
    drawn = reply.draws.random() * borders[-1].item()
    token = int(torch.searchsorted(borders, drawn, right=True).item())
    return min(token, int(weights.nonzero()[-1].item()))
