"""Rankings, and what one would be with another formula."""

from __future__ import annotations

import msgspec

from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula
from pipeline.serving.http.answers import ARROW, JSON, Answer, invalid
from pipeline.serving.http.app import App
from pipeline.serving.http.decode import decode
from pipeline.serving.http.exchange import Exchange
from pipeline.serving.model.served import Served


class Preview(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a preview."""

    formula: str
    request: msgspec.Raw
    """A ranking request."""


_PREVIEW = msgspec.json.Decoder(Preview)


async def rank(app: App, exchange: Exchange) -> Answer:
    """Score and order the candidates of a request."""
    kind = exchange.require_type(JSON, ARROW)
    body = await exchange.body()
    accept = exchange.header("accept") or "*/*"
    wanted = next((one for one in (ARROW, JSON) if one in accept), kind)
    content, ranking = await app.work.run(lambda: app.served.answer(body, kind, wanted))
    app.metrics.candidates.inc(len(ranking.score))
    app.metrics.count(ranking.unknown, ranking.missing)
    return Answer(content, type=wanted)


async def preview(app: App, exchange: Exchange) -> Answer:
    """Rank with a formula that is not in use."""
    given = decode(_PREVIEW, await exchange.json_body())
    served = app.served
    changed = served.with_formula(parsed(given.formula, served), 0)
    request = bytes(given.request)
    content, _ = await app.work.run(lambda: changed.answer(request, JSON, JSON))
    return Answer(content)


def parsed(text: str, served: Served) -> Formula:
    """Return a formula for a model. Raises HttpError 422, naming the position."""
    try:
        return Formula(text, served.model.tasks)
    except UserError as error:
        raise invalid(str(error), "formula") from error
