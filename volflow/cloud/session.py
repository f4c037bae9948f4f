"""The HTTP session of a login, which takes nothing for an answer that is none."""

from __future__ import annotations

from typing import Any

from keystoneauth1 import session
from requests import Response

from volflow.cloud.answers import (
    OVER_LIMIT,
    WAITING,
    NoAnswer,
    NoSuchPath,
    is_rate_limit,
    seconds_of,
)

# The header of an API version names Cinder in this way, whatever its type is in the catalogue.
_VERSIONED = "volume"


class Session(session.Session):
    """A session that examines the answers to python-cinderclient.

    Only there is the status not yet an exception of keystoneauth.
    """

    def request(self, url: str, method: str, *args: Any, **kwargs: Any) -> Response:
        if kwargs.get("microversion"):
            kwargs.setdefault("microversion_service_type", _VERSIONED)
        response = super().request(url, method, *args, **kwargs)
        if kwargs.get("raise_exc") is False:
            _examine(response)
        return response


def _examine(response: Response) -> None:
    """Refuse a response that is no answer of Cinder.

    :raises NoAnswer: it comes from a proxy or a broken API, or asks to wait
    :raises NoSuchPath: this Cinder does not have the path
    """
    status = response.status_code
    if status in WAITING or status == OVER_LIMIT:
        after = seconds_of(response.headers.get("Retry-After"))
        if status in WAITING or is_rate_limit(status, after, response.text):
            raise NoAnswer(f"{_said(response)} (HTTP {status})", status, after)
    elif status == 404:
        found = _document(response)
        if "itemNotFound" in found:
            return
        if found.get("code") == "404 Not Found":  # of WebOb, for a path that Cinder does not know
            raise NoSuchPath(f"HTTP 404 for {response.url}")
        raise NoAnswer("HTTP 404, but not from Cinder; is there a proxy between?", status)
    elif 301 <= status < 400:
        raise NoAnswer(f"HTTP {status} leads nowhere; is there a proxy between?", status)
    elif status < 400:
        body = response.content.strip()
        # Most of Cinder's answers to changes are empty.
        if body and not (body.startswith(b"{") and body.endswith(b"}")):
            raise NoAnswer(
                f"HTTP {status} with an answer that makes no sense; is there a proxy between?",
                status,
            )


def _document(response: Response) -> dict[str, Any]:
    """The JSON object in a response; empty if it has none."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _said(response: Response) -> str:
    """The message of Cinder in an error, or the name of the status."""
    for value in _document(response).values():
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            return str(value["message"])
    return response.reason or "No answer"
