"""Stores the newest activity report of each machine (contract, section 4), for the editor.

Only the fields that readers rely on are checked; unknown keys are stored as they are.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from control.errors import BadRequest
from control.storage.store import Store
from control.web import APP, read_body

MAX_BYTES = 1024 * 1024
STATES = ("starting", "running", "degraded", "sleeping", "stopping")


def check(report: Any) -> str:
    """Return the name of the machine that sent `report`, or raise BadRequest with the field that is wrong. Pure."""
    if not isinstance(report, dict):
        raise BadRequest("the report is not a JSON object")
    if report.get("state") not in STATES:
        raise BadRequest(f"state is not one of {', '.join(STATES)}")
    machine = report.get("machine")
    if not isinstance(machine, str) or not 1 <= len(machine) <= 128 or not machine.isprintable():
        raise BadRequest("machine is not a name of 1 to 128 printable characters")
    revision = report.get("revision")
    if revision is not None and (not isinstance(revision, int) or isinstance(revision, bool) or revision < 0):
        raise BadRequest("revision is neither a whole number nor null")
    for name in ("etag", "last_activity_at", "last_activity", "sleep_at"):
        if not isinstance(report.get(name), str | None):
            raise BadRequest(f"{name} is neither text nor null")
    if not isinstance(report.get("dev_server"), dict | None):
        raise BadRequest("dev_server is neither an object nor null")
    for name in ("problems", "receipts"):
        value = report.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise BadRequest(f"{name} is not an array of objects")
    return machine


class Activity:
    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        return [web.post(APP + "/activity", self.post), web.get(APP + "/activity", self.get)]

    async def post(self, request: web.Request) -> web.Response:
        """Store the report. The answer carries the editor's last activity, which postpones the machine's sleep."""
        app_id = request.match_info["app_id"]
        body = await read_body(request, MAX_BYTES)
        try:
            report = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the report is not JSON: {error}") from None
        machine = check(report)
        await self._store.run_in_writer(lambda: self._store.report(app_id, machine, body))
        return web.json_response({"success": True} | self._edited(app_id))

    async def get(self, request: web.Request) -> web.Response:
        """Return `{"success", "last_activity_at"?, "machines": [the newest report of each, with `received_at`]}`."""
        app_id = request.match_info["app_id"]
        with self._store.snapshot() as snapshot:
            machines = [orjson.loads(state) | {"received_at": at} for state, at in snapshot.machines(app_id)]
        return web.json_response({"success": True, "machines": machines} | self._edited(app_id))

    def _edited(self, app_id: str) -> dict[str, str]:
        with self._store.snapshot() as snapshot:
            at = snapshot.edited_at(app_id)
        return {"last_activity_at": at} if at else {}
