"""A Jinja environment for templates that may be hostile: chat templates come with the model file.

Jinja's own sandbox keeps a template away from the interpreter. This one bounds its work as well. A template
may only call the filters and methods listed here, and every loop turn, call, operation and output is
charged to one budget by the size of what it touches, before it happens. What a template can't do, or can't
afford, ends in one of `FAILURES`.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MAX_SOURCE: Final = 1 << 18
BUDGET: Final = 1 << 23  # characters, list entries and turns, together
FAILURES: Final = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
_FILTERS: Final = frozenset(
    (
        "abs",
        "bool",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "first",
        "float",
        "int",
        "items",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "reject",
        "rejectattr",
        "reverse",
        "round",
        "safe",
        "select",
        "selectattr",
        "sort",
        "string",
        "title",
        "trim",
        "unique",
        "upper",
    )
)
_METHODS: Final = frozenset(
    (
        "capitalize",
        "count",
        "endswith",
        "find",
        "get",
        "index",
        "isalnum",
        "isalpha",
        "isdigit",
        "islower",
        "isspace",
        "isupper",
        "items",
        "keys",
        "lower",
        "lstrip",
        "removeprefix",
        "removesuffix",
        "rfind",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
        "values",
    )
)
_LARGEST: Final = 1 << 64
_DEPTH: Final = 900  # Python frames; 1,000 is the interpreter's own default limit


@contextmanager
def shallow_stack() -> Iterator[None]:
    """Holds what runs inside to `_DEPTH` more frames, past which Python raises `RecursionError`.

    Importing py-evm raises the limit of the whole process to more than the C stack can take: a template that
    calls itself, or a deeply nested one while it is compiled, would then end the process instead of failing.
    """
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(min(before, depth + _DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one rendering: it keeps the budget, so it isn't shared."""

    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols"],
            finalize=self._text,
            cache_size=0,
        )
        self._left = BUDGET
        self.concat = functools.partial(self._join, "")  # type: ignore[method-assign]
        self.filters = {name: self._charged(self.filters[name]) for name in _FILTERS if name in self.filters}
        self.filters |= {"tojson": self._to_json, "join": self._join_filter, "replace": self._replace}
        self.globals = {"dict": dict, "namespace": Namespace, "range": self._range, "raise_exception": _fail}
        self.globals |= {"_turn": self._turn, "_concat": self._concat, "_weighed": self._weighed}

    # ---- hooks of Jinja

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Instrument().visit(super()._parse(source, name, filename))
        return tree

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if getattr(value, "__name__", "") in ("format", "format_map") and isinstance(value.__self__, str):
            raise SecurityError("string formatting is not available to templates")
        return None

    def getitem(self, obj: Any, argument: Any) -> Any:
        self._weigh(obj if isinstance(argument, slice) else 0)
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for value in (left, right):
            self._weigh(value)
            if isinstance(value, int) and abs(value) >= _LARGEST:
                raise SecurityError("the template computes with an integer of more than 64 bits")
        if operator == "**" or (operator == "%" and isinstance(left, str | bytes)):
            raise SecurityError(f"the operator {operator} is not available to templates")
        if operator == "*" and not (isinstance(left, int | float) and isinstance(right, int | float)):
            times, value = (left, right) if isinstance(left, int) else (right, left)
            self._spend(int(times) * self._weigh(value))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self._weigh([*args, *kwargs.values()])
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str | list | tuple | dict | bytes | int | float):
            self._weigh(owner)
            name = function.__name__
            if name == "replace" and isinstance(owner, str):
                return self._replace(owner, *args, **kwargs)
            if name == "join" and isinstance(owner, str):
                return self._join(owner, *args, **kwargs)
            if name not in _METHODS:
                raise SecurityError(f"the method {name} is not available to templates")
        return super().call(context, function, *args, **kwargs)

    # ---- the budget

    def _spend(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise SecurityError(f"the template needs more than {BUDGET} steps and characters")

    def _weigh(self, value: Any) -> int:
        """Charge for the size of `value`, of everything inside it too, and return it."""
        before = self._left
        self._spend(8 + len(value) if isinstance(value, str | bytes) else 8)
        if isinstance(value, list | tuple):
            for item in value:
                self._weigh(item)
        elif isinstance(value, dict):
            for entry in value.items():
                self._weigh(entry)
        return before - self._left

    def _weighed(self, value: Any) -> Any:
        self._weigh(value)
        return value

    def _charged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def charged(*args: Any, **kwargs: Any) -> Any:
            self._weigh([*args, *kwargs.values()])
            return function(*args, **kwargs)

        return charged

    def _turn(self) -> str:
        self._spend(100)
        return ""

    def _range(self, *bounds: int) -> list[int]:
        self._spend(len(range(*bounds)))
        return list(range(*bounds))

    # ---- bounded versions of what makes text

    def _text(self, value: Any) -> Any:
        """A value as output: text, numbers, and lists and dicts of them."""
        self._weigh(value)
        _require_printable(value)
        return value

    def _join(self, separator: str, parts: Iterable[Any]) -> str:
        texts = []
        for part in parts:
            texts.append(str(self._text(part)))
            self._spend(len(texts[-1]) + len(separator))
        return separator.join(texts)

    def _join_filter(self, parts: Iterable[Any], separator: str = "") -> str:
        return self._join(separator, parts)

    def _concat(self, *parts: Any) -> str:
        return self._join("", parts)

    def _replace(self, text: Any, old: str, new: str, count: int = -1) -> str:
        plain = str(self._text(text))
        self._spend(len(plain) + plain.count(old) * len(new))
        return plain.replace(old, new, count)

    def _to_json(self, value: Any, indent: int | None = None, **_: object) -> str:
        if indent is not None and not 0 <= indent <= 16:
            raise SecurityError(f"tojson with indent {indent}, at most 16")
        self._text(value)
        return json.dumps(value, ensure_ascii=False, indent=indent)


class _Instrument(NodeTransformer):
    """Charges the turns of loops and macros and the making of lists, and bounds `~`."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_call("_turn", [], node.lineno)]))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_call("_turn", [], node.lineno)]))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call("_concat", node.nodes, node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Call:
        self.generic_visit(node)
        return _call("_weighed", [node], node.lineno)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        self.generic_visit(node)
        return _call("_weighed", [node], node.lineno) if node.ctx == "load" else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Call:
        self.generic_visit(node)
        return _call("_weighed", [node], node.lineno)


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load"), arguments, [], None, None, lineno=line)


def _require_printable(value: Any) -> None:
    if isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _require_printable(item)
    elif not isinstance(value, str | int | float | Undefined | None):
        raise SecurityError(f"a value of type {type(value).__name__} can't be printed")


def _fail(message: object) -> None:
    raise TemplateError(str(message)[:1000])


__all__ = ["BUDGET", "FAILURES", "MAX_SOURCE", "Sandbox", "shallow_stack"]
