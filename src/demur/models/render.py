"""The program that renders chat templates, in a process of its own (`templates.py` starts it).

A chat template is a program that came with somebody's model. Here it has so many seconds and so much memory, whatever
it does with them, and nothing that differs from one run to the next: one date, one seed. A line of JSON in, one out.
"""

from __future__ import annotations

import datetime
import faulthandler
import json
import os
import random
import signal
import sys
from contextlib import suppress
from functools import cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError

DATE = datetime.datetime(2025, 1, 1, 12)
"""What `strftime_now` tells the time from: a prompt with today's date in it is another prompt tomorrow."""
SECONDS = 5.0
"""Time that one text may take; a text takes less than a thousandth of it."""
MEMORY = 1 << 30
"""Bytes that the process may take, where the system can say so."""
ENDLESS = 1
"""Exit status after a text that took longer: faulthandler's."""
LONGEST = 10_000_000
"""Characters that a template may add to what it is given."""


class Generation(Extension):
    """The tag {% generation %}, which marks what an assistant says: here its body."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        """Its body, as a block with names of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller: Any) -> str:
        return caller()


class Refused(Exception):
    """The template's own raise_exception."""


def _refuse(message: object) -> None:
    raise Refused(str(message))


def _json(x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False):
    """JSON as it is; jinja's own filter writes it for HTML."""
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@cache
def compiled(template: str) -> jinja2.Template:
    """A template as transformers compiles it: the same sandbox, tags, filters and functions."""
    extensions: list[Any] = [Generation, "jinja2.ext.loopcontrols"]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = _json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": DATE.strftime}
    return environment.from_string(template)


def answer(asked: dict[str, Any]) -> dict[str, str]:
    """{"text"}, or {"fault", "why"} of {"template", "values", "given": how many characters it is given}."""
    try:
        random.seed(0)
        text = compiled(asked["template"]).render(**asked["values"])
        if len(text) > asked["given"] + LONGEST:
            return {"fault": "size", "why": f"it writes {len(text):,} characters"}
        return {"text": text}
    except Refused as error:
        return {"fault": "refused", "why": f"it says {str(error)[:300]!r}"}
    except jinja2.TemplateSyntaxError as error:
        return {"fault": "syntax", "why": f"line {error.lineno}: {str(error.message)[:300]}"}
    except SecurityError as error:
        return {"fault": "unsafe", "why": f"it does what a template may not: {str(error)[:300]}"}
    except MemoryError:
        return {"fault": "size", "why": f"it takes more than {MEMORY >> 20} MiB of memory"}
    except RecursionError:
        return {"fault": "size", "why": "it calls itself without end"}
    except Exception as error:  # a template can raise whatever Python can
        return {"fault": "failed", "why": f"{type(error).__name__}: {str(error)[:300]}"}


def main(seconds: float) -> None:
    """Answer line by line until the other side goes. A text that takes longer ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    nowhere = open(os.devnull, "w")  # noqa: SIM115 (until the end)
    print("ready", flush=True)
    for line in sys.stdin:
        # The watch is C code: it also ends what never comes back to Python, as 2 ** 10 ** 10.
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        said = json.dumps(answer(json.loads(line)))
        faulthandler.cancel_dump_traceback_later()
        print(said, flush=True)


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]))
    except BaseException:
        os._exit(ENDLESS + 1)
