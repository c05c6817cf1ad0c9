"""Who is let in: by key and scope, and not more often than allowed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader

from fraud3000.service.access import HEADER, Allowance, Keys, Scope
from fraud3000.service.requests import Refused

_KEY = APIKeyHeader(name=HEADER, scheme_name="key", auto_error=False)
_ASK = "Ask whoever runs the service for a key."


class Door:
    """Lets in who has a key for what is asked, or anyone where no key is needed.

    Parameters
    ----------
    keys
        Those there are.
    allowance
        How often each may ask.
    """

    def __init__(self, keys: Keys, allowance: Allowance) -> None:
        self._keys, self._allowance = keys, allowance

    def admit(self, scope: Scope, given: str | None) -> None:
        """Let a request pass.

        Raises
        ------
        Refused
            401 without a key, or with one that is not known; 403 with one for something else; 429 too often.
        """
        if not self._keys.needed:
            self._spend("")
            return
        holder = None if given is None else self._keys.holder(given)
        if holder is None:
            missing = f"the header {HEADER} is missing"
            said = missing if given is None else f"the key in {HEADER} is not known, or revoked"
            raise Refused(401, "no_key", said, _ASK)
        if scope not in holder.scopes:
            said = f"the key {holder.id} is for {', '.join(holder.scopes)}, and this needs {scope}"
            raise Refused(403, "wrong_scope", said, "Ask whoever runs the service for such a key.")
        self._spend(holder.id)

    def guards(self, scope: Scope) -> list[Any]:
        """The same as FastAPI's dependencies."""

        async def guard(given: Annotated[str | None, Security(_KEY)]) -> None:
            self.admit(scope, given)

        return [Depends(guard)]

    def _spend(self, key: str) -> None:
        wait = self._allowance.wait(key)
        if wait:
            said = "more requests than this key may make in a second"
            raise Refused(429, "too_many", said, "Send several transactions in a request.", retry_after=wait)
