"""Asks the listening room as a browser would, without a server."""

import httpx


class Client:
    """Asks an application as a browser on this machine would."""

    def __init__(self, app, portal):
        self.app = app
        self._portal = portal

    def __call__(self, method, path, *, host="127.0.0.1:8765", **options):
        async def send():
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.request(method, path, **options)

        return self._portal.call(send)

    def get(self, path, **options):
        return self("GET", path, **options)

    def post(self, path, body=None, **options):
        return self("POST", path, json=body, **options)


def wanted(library, **changes):
    """Return the body of a request for clips of the first song."""
    song = library.songs[0].id if library.songs else None
    body = {"song": song, "listener": "L5040", "start_s": 0.25, "duration_s": 1.0}
    return {**body, "versions": ["mixture", "remix:e016"], "simulator": None, **changes}
