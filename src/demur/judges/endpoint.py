"""An OpenAI-compatible endpoint: one request, sent until there is a reply or nothing more is to be hoped for."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from demur.errors import BadSpec, DemurError
from demur.reports.layout import one_line

RETRY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""What a server says that is busy or broken for now."""
NO_USE = ("insufficient_quota", "billing_hard_limit_reached")
"""In such an answer: it will be the same tomorrow."""
ABSENT = 2
"""Attempts at an address where nobody was ever found."""
LONG = 2.0
"""Seconds of a wait that is said."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts, at most."""
LONGEST_REPLY = 4_000_000
"""Bytes of a reply that are read."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to an address that nobody named."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        """No redirect is followed; it arrives as an HTTPError."""


_OPENER = urllib.request.build_opener(_NoRedirect)


class Rejected(Exception):
    """A request that the endpoint will not take, however often it is sent; `told`: in its words."""

    def __init__(self, text: str, told: str):
        super().__init__(text)
        self.told = told


@dataclass(frozen=True)
class Reply:
    """What a model said, and the tokens that the endpoint counted; 0 where it counts none."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served."""

    base_url: str
    api_key_env: str
    timeout: float
    attempts: int
    backoff: float
    _until: list[float] = field(default_factory=lambda: [0.0])
    """The moment before which nothing is sent: a server that is busy is busy for all that ask it at once."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _met: list[bool] = field(default_factory=lambda: [False])
    """Whether anybody was found there."""

    def __post_init__(self) -> None:
        """Raises BadSpec for an address that is none, or that would send the key in the clear, and for a key that no
        header can hold."""
        key = self._key()
        try:
            url, host = urlsplit(self.base_url), urlsplit(self.base_url).hostname
            _ = url.port
        except ValueError as error:
            raise BadSpec(f"base_url {self.base_url!r} is no address ({error}); such as https://host/v1") from error
        if url.scheme not in ("http", "https") or not host:
            raise BadSpec(f"base_url {self.base_url!r} is no http(s) address, such as https://host/v1")
        if url.scheme == "http" and host not in _LOOPBACK and key:
            raise BadSpec(f"{self.base_url!r} would send {self.api_key_env} unencrypted; use https, or unset it")

    def ask(self, body: Mapping[str, Any]) -> Reply:
        """The reply to one chat request. Raises Rejected; DemurError when the endpoint stays away, busy or
        unintelligible; of waits that are LONG there is a warning. A reply without text is ""."""
        key = self._key()
        request = urllib.request.Request(
            self.base_url.rstrip("/") + "/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
        )
        failure, attempts = "", self.attempts
        for attempt in range(self.attempts):
            self._wait()
            wait = min(LONGEST_WAIT, self.backoff * 2**attempt)
            try:
                with _OPENER.open(request, timeout=self.timeout) as response:
                    kind, raw = response.headers.get("Content-Type", "none"), response.read(LONGEST_REPLY + 1)
                self._met[0] = True
                if (reply := read(raw)) is not None:
                    return reply
                failure = f"a reply of type {one_line(kind)[:60]} that is no chat completion: {_shown(raw)}"
            except urllib.error.HTTPError as error:
                self._met[0] = True
                told = _told(error)
                failure = f"HTTP {error.code}"
                if error.code not in RETRY or any(word in told for word in NO_USE):
                    said = f"{request.full_url} rejected the request: {failure} {told}".rstrip()
                    raise Rejected(said, told) from error
                failure = f"{failure} {_words(told)}".rstrip()
                wait = retry_after(error.headers.get("Retry-After"), wait)
                error.close()
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                failure = str(reason) or type(error).__name__
                if not self._met[0] and isinstance(reason, ConnectionRefusedError | socket.gaierror):
                    attempts = min(ABSENT, self.attempts)
            if attempt + 1 >= attempts:
                break
            if wait >= LONG:
                told = f"{request.full_url}: {failure}, attempt {attempt + 1} of {attempts}; the next in {wait:.0f} s"
                warnings.warn(told, stacklevel=2)
            with self._lock:
                self._until[0] = max(self._until[0], time.monotonic() + wait)
        advice = "rerun to resume" if self._met[0] else "check the address, and rerun to resume"
        raise DemurError(
            f"{request.full_url} gave no reply in {attempts} attempts ({failure}); the verdicts that are there are "
            f"kept: {advice}"
        )

    def _key(self) -> str:
        """The key, without the line's end that files give it; it is in no message."""
        key = os.environ.get(self.api_key_env, "").strip()
        if not re.fullmatch(r"[\x20-\x7e]*", key):
            raise BadSpec(f"{self.api_key_env} holds letters or line breaks that no key has; set it to the key alone")
        return key

    def _wait(self) -> None:
        while (left := self._until[0] - time.monotonic()) > 0:
            time.sleep(min(left, LONGEST_WAIT))


def read(raw: bytes) -> Reply | None:
    """The reply in a chat completion; None for what is none."""
    try:
        page = json.loads(raw)
        choices, usage = page["choices"], page.get("usage") or {}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(choices, list):
        return None
    try:
        text = choices[0]["message"]["content"]
    except (LookupError, TypeError):
        text = None
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    tokens_in, tokens_out = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
    return Reply(text if isinstance(text, str) else "", tokens_in, tokens_out)


def retry_after(header: str | None, otherwise: float) -> float:
    """Seconds of a Retry-After header (a number or a date), at most LONGEST_WAIT; nonsense is ignored."""
    if not header:
        return otherwise
    if re.fullmatch(r"\d{1,6}(?:\.\d+)?", header.strip()):
        return min(LONGEST_WAIT, float(header))
    try:
        wait = parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return otherwise
    return min(LONGEST_WAIT, max(0.0, wait))


def _told(error: urllib.error.HTTPError) -> str:
    try:
        return _shown(error.read(1000))
    except (OSError, http.client.HTTPException):
        return ""


def _words(told: str) -> str:
    """The message in what a server told, quoted; all of it where it holds none."""
    found = re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.)+)"', told)
    return repr(found[1] if found else told) if told else ""


def _shown(raw: bytes) -> str:
    return one_line(raw[:1000].decode(errors="replace"))[:500]
