"""What all parts of `audit.json` have in common."""

from __future__ import annotations

import pydantic


class Part(pydantic.BaseModel):
    """A part of `audit.json`: all of it is there, and it is not changed."""

    model_config = pydantic.ConfigDict(frozen=True, populate_by_name=True)
