"""How the published mini-program is answered (docs/mini-program.md): `{code, msg, data}`, 1 for success, in Chinese."""

from __future__ import annotations

from typing import Any

from django.utils.encoding import force_str
from django.utils.translation import override

from waimai.infra.errors import DomainError

SKY_PATHS = ("/user/", "/notify/")
LANGUAGE = "zh-hans"
DONE, REFUSED = 1, 0


def done(data: Any = None) -> dict[str, Any]:
    """The envelope of what went well."""
    return {"code": DONE, "msg": None, "data": data}


def refused(error: DomainError) -> dict[str, Any]:
    """The envelope of a refusal: of a form the first wrong field, else what the refusal says."""
    with override(LANGUAGE):
        return {"code": REFUSED, "msg": _first(error.errors) or force_str(error.detail), "data": None}


def _first(errors: Any) -> str:
    """The first text in what may be texts in lists in mappings."""
    while isinstance(errors, dict | list):
        errors = next(iter(errors.values() if isinstance(errors, dict) else errors), "")
    return force_str(errors or "")
