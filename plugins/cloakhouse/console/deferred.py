"""An app that is made when the first request comes: who only loads the plugin reads no settings and imports little."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


class Deferred:
    """An ASGI app that stands for the one that `make` returns. `make` is called once, outside of the event loop."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make, self._app, self._lock = make, None, asyncio.Lock()

    _app: App | None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one request. Raises what making the app does; the next request tries again."""
        if self._app is None:
            async with self._lock:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._make)
        await self._app(scope, receive, send)
