"""What every section of a configuration is, and the kinds of values that several of them have."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic import Field

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
# Strictly, a tuple cannot be had from a list; the items stay strict.
Lenient = Field(strict=False)


class Section(pydantic.BaseModel):
    """A mapping of the document, whose keys are this and no others."""

    model_config = pydantic.ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False
    )
