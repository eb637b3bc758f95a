"""Section 1 of `docs/spec.md` again, in exact integers: written from the specification alone.

One rounding function serves every format and operation: a value is an integer times a power of two.
"""

from collections.abc import Callable
from math import isqrt

NAN, INF, SGN, M32 = 0x7FC00000, 0x7F800000, 1 << 31, 0xFFFFFFFF


def rnd(sign: int, m: int, e: int, p: int = 24, emin: int = -149, top: int = 0xFF) -> int:
    """(-1)^sign m 2^e rounded to nearest even in a binary format of precision p, least exponent emin."""
    q = max(e + m.bit_length() - p, emin)
    if q > e:
        s = q - e
        h, low = m >> s, m & ((1 << s) - 1)
        m = h + (low > 1 << (s - 1) or (low == 1 << (s - 1) and h & 1))
    else:
        m <<= e - q
    bits = min(((q - emin) << (p - 1)) + m, top << (p - 1)) if m else 0
    return bits | sign << (31 if p == 24 else 15)


def isnan(b: int) -> bool:
    return (b & ~SGN) > INF


def isinf(b: int) -> bool:
    return b & ~SGN == INF


def parts(b: int) -> tuple[int, int]:
    ex, m = b >> 23 & 255, b & 0x7FFFFF
    return (m, -149) if ex == 0 else (m | 1 << 23, ex - 150)


def canon(b: int) -> int:
    return NAN if isnan(b) else b


def signed(b: int) -> int:
    return b - (1 << 32) if b & SGN else b


def fma(a: int, b: int, c: int) -> int:
    if isnan(a) or isnan(b) or isnan(c):
        return NAN
    s = (a ^ b) & SGN
    if isinf(a) or isinf(b):
        if not (a & ~SGN) or not (b & ~SGN) or (isinf(c) and c != s | INF):
            return NAN
        return s | INF
    if isinf(c):
        return c
    ma, ea = parts(a)
    mb, eb = parts(b)
    m, e = ma * mb, ea + eb
    mc, ec = parts(c)
    if not m and not mc:
        return s & c
    if s:
        m = -m
    if c & SGN:
        mc = -mc
    lo = min(e, ec)
    x = (m << (e - lo)) + (mc << (ec - lo))
    return rnd(x < 0, abs(x), lo) if x else 0


ONE, MZERO = 0x3F800000, SGN


def add(a: int, b: int) -> int:
    return fma(a, ONE, b)


def sub(a: int, b: int) -> int:
    return NAN if isnan(b) else fma(a, ONE, b ^ SGN)


def mul(a: int, b: int) -> int:
    s = (a ^ b) & SGN  # adding a zero of the product's sign changes nothing
    return fma(a, b, s)


def div(a: int, b: int) -> int:
    if isnan(a) or isnan(b):
        return NAN
    s = (a ^ b) >> 31
    if isinf(a) or isinf(b):
        return NAN if isinf(a) and isinf(b) else s << 31 | (INF if isinf(a) else 0)
    (ma, ea), (mb, eb) = parts(a), parts(b)
    if not mb:
        return s << 31 | INF if ma else NAN
    if not ma:
        return s << 31
    q, r = divmod(ma << 64, mb)
    return rnd(s, q << 1 | (r != 0), ea - eb - 65)


def sqrt(a: int) -> int:
    if isnan(a) or not a & ~SGN:
        return canon(a)
    if a & SGN:
        return NAN
    if isinf(a):
        return a
    m, e = parts(a)
    if e & 1:
        m, e = m << 1, e - 1
    m, e = m << 64, e - 64
    r = isqrt(m)
    return rnd(0, r << 1 | (r * r != m), e // 2 - 1)


def key(b: int) -> int:
    """Order key: signed."""
    return signed(b ^ ((signed(b) >> 31) & 0x7FFFFFFF))


def minimum(a: int, b: int) -> int:
    return NAN if isnan(a) or isnan(b) else min(a, b, key=key)


def maximum(a: int, b: int) -> int:
    return NAN if isnan(a) or isnan(b) else max(a, b, key=key)


def real(b: int) -> int:
    m = b & ~SGN
    return -m if b & SGN else m


def lt(a: int, b: int) -> int:
    return int(not isnan(a) and not isnan(b) and real(a) < real(b))


def le(a: int, b: int) -> int:
    return int(not isnan(a) and not isnan(b) and real(a) <= real(b))


def eq(a: int, b: int) -> int:
    return int(not isnan(a) and not isnan(b) and real(a) == real(b))


def i2f(a: int) -> int:
    x = signed(a)
    return rnd(x < 0, abs(x), 0) if x else 0


def f2i(a: int) -> int:
    if isnan(a):
        return 0
    if isinf(a):
        return 0x80000000 if a & SGN else 0x7FFFFFFF
    m, e = parts(a)
    if e >= 0:
        x = m << min(e, 64)
    else:
        s = -e
        h, low = m >> s, m & ((1 << s) - 1)
        x = h + (low > 1 << (s - 1) or (low == 1 << (s - 1) and h & 1))
    x = -x if a & SGN else x
    return max(-(1 << 31), min((1 << 31) - 1, x)) & M32


OPS: list[tuple[str, int, Callable[..., int]]] = [
    ("add", 2, add),
    ("sub", 2, sub),
    ("mul", 2, mul),
    ("div", 2, div),
    ("sqrt", 1, sqrt),
    ("fma", 3, fma),
    ("neg", 1, lambda a: canon(a) if isnan(a) else a ^ SGN),
    ("abs", 1, lambda a: canon(a & ~SGN)),
    ("min", 2, minimum),
    ("max", 2, maximum),
    ("lt", 2, lt),
    ("le", 2, le),
    ("eq", 2, eq),
    ("i2f", 1, i2f),
    ("f2i", 1, f2i),
    ("iadd", 2, lambda a, b: a + b & M32),
    ("isub", 2, lambda a, b: a - b & M32),
    ("imul", 2, lambda a, b: a * b & M32),
    ("imulhi", 2, lambda a, b: a * b >> 32),
    ("and", 2, lambda a, b: a & b),
    ("or", 2, lambda a, b: a | b),
    ("xor", 2, lambda a, b: a ^ b),
    ("shl", 2, lambda a, b: a << (b & 31) & M32),
    ("shr", 2, lambda a, b: a >> (b & 31)),
    ("sar", 2, lambda a, b: signed(a) >> (b & 31) & M32),
    ("sel", 3, lambda a, b, c: b if a else c),
]
ARITY = [n for _, n, _ in OPS]
FN = [f for _, _, f in OPS]


# --- storage formats (1.3) -------------------------------------------------------------------
OUT_BYTES = [4, 2, 2, 4, 1]


def narrow(b: int, p: int, emin: int, top: int, nan: int) -> int:
    """binary32 to a 16-bit float."""
    if isnan(b):
        return nan
    s = b >> 31
    if isinf(b):
        return s << 15 | top << (p - 1)
    m, e = parts(b)
    return rnd(s, m, e, p, emin, top) if m else s << 15


def store(code: int, b: int) -> bytes:
    """Register to the stored bytes."""
    if code == 0:
        return canon(b).to_bytes(4, "little")
    if code == 1:
        return narrow(b, 11, -24, 31, 0x7E00).to_bytes(2, "little")
    if code == 2:
        return narrow(b, 8, -133, 255, 0x7FC0).to_bytes(2, "little")
    if code == 3:
        return b.to_bytes(4, "little")
    return max(-128, min(127, signed(b))).to_bytes(1, "little", signed=True)


def f16(h: int) -> int:
    s, ex, m = h >> 15, h >> 10 & 31, h & 1023
    if ex == 31:
        return NAN if m else s << 31 | INF
    m, e = (m, -24) if ex == 0 else (m | 1024, ex - 25)
    return rnd(s, m, e) if m else s << 31


def load(code: int, raw: bytes) -> int:
    """Stored bytes to a register."""
    v = int.from_bytes(raw, "little")
    if code == 0:
        return canon(v)
    if code == 1:
        return f16(v)
    if code == 2:
        return canon(v << 16)
    if code == 3:
        return v
    return int.from_bytes(raw, "little", signed=True) & M32


# --- formats of weights (1.4) ----------------------------------------------------------------
W_UNIT = [1, 1, 1, 1, 32, 32, 32, 32, 32]
W_BYTES = [4, 2, 2, 4, 18, 20, 22, 24, 34]
HAS_MIN = (5, 7)


def unit(code: int, raw: bytes) -> tuple[list[int], int, int]:
    """A quantised unit: 32 signed q, d, m."""
    d, m, at = f16(int.from_bytes(raw[:2], "little")), 0, 2
    if code in HAS_MIN:
        m, at = f16(int.from_bytes(raw[2:4], "little")), 4
    if code == 8:
        return [x - 256 if x > 127 else x for x in raw[2:]], d, m
    high = 0
    if code in (6, 7):
        high, at = int.from_bytes(raw[at : at + 4], "little"), at + 4
    qs = raw[at : at + 16]
    q = [x & 15 for x in qs] + [x >> 4 for x in qs]
    q = [x | (high >> i & 1) << 4 for i, x in enumerate(q)]
    off = {4: 8, 6: 16}.get(code, 0)
    return [x - off for x in q], d, m


def weight_element(code: int, raw: bytes, i: int) -> int:
    """Element i of the unit `raw`, read alone."""
    if code < 4:
        return load(code, raw)
    q, d, m = unit(code, raw)
    return fma(i2f(q[i] & M32), d, m)
