"""Functions made of the scalar operations: exponential, logarithm, activations, Philox, Gumbel noise.

Each takes and returns expressions (`opml.ops.expr`), so that a new function needs no new contract. The error
bounds, in units in the last place (ulp) of the true value, were measured over all 2^32 inputs by
`scripts/measure_functions.py` and stand in `docs/numbers.md`. The polynomials are minimax fits whose
coefficients were rounded to f32 one after the other, lowest power first, the rest fitted again each time.
"""

from __future__ import annotations

from opml.ops.expr import (
    Expr,
    Value,
    add,
    const,
    div,
    fma,
    i2f,
    iadd,
    imul,
    imulhi,
    isub,
    le,
    lt,
    max_,
    min_,
    mul,
    neg,
    or_,
    sar,
    sel,
    shl,
    shr,
    sqrt,
    sub,
    xor,
)

INF = float("inf")
EXP_SHIFT = 23
"""Where the exponent field of a binary32 starts."""

LOG2_E = 1.4426950408889634
LN2_HI, LN2_LO = 0.693145751953125, 1.428606765330187e-06
"""ln 2 in two parts; the first has 15 bits, so that its product with an exponent is exact."""

EXP_POLYNOMIAL = (
    0.0013820689637213945,
    0.008368675597012043,
    0.04166826605796814,
    0.1666652113199234,
    0.4999999403953552,
    1.0,
    1.0,
)
"""exp(y) for |y| <= ln(2) / 2, highest power first; relative error below 3.2e-9."""

LOG_POLYNOMIAL = (
    -0.07636439055204391,
    0.12762217223644257,
    -0.13159610331058502,
    0.14201579988002777,
    -0.166234090924263,
    0.2000124156475067,
    -0.2500081956386566,
    0.3333333134651184,
    -0.5,
)
"""(log(1 + f) - f) / f^2 for sqrt(1/2) <= 1 + f < sqrt(2), highest power first; relative error below 6e-9."""

ROUND_TO_INTEGER = float(3 << 22)
"""Added to a number below 2^22, it leaves the nearest integer in the last bits of the sum."""


def _polynomial(coefficients: tuple[float, ...], x: Expr, scale: float = 1.0) -> Expr:
    """Horner's rule, highest power first, every coefficient times `scale`, a power of two."""
    result: Expr = const(coefficients[0] * scale)
    for coefficient in coefficients[1:]:
        result = fma(result, x, coefficient * scale)
    return result


def exp(x: Value) -> Expr:
    """e^x within 1 ulp everywhere; subnormal results kept, +0 below -104, +inf above 88.7228, NaN of NaN.

    x = n ln 2 + y, and e^y gets its factor 2^n in two halves, so that neither overflows: one is added to the
    exponent field, the other multiplied, which rounds a subnormal result.
    """
    x = min_(max_(x, -104.0), 89.0)
    bias = 190  # keeps both halves' exponent fields positive for n in -150 .. 128
    shifted = fma(x, LOG2_E, ROUND_TO_INTEGER + bias)  # its last bits are n + bias
    n = sub(shifted, ROUND_TO_INTEGER + bias)
    y = fma(n, -LN2_LO, fma(n, -LN2_HI, x))
    p = _polynomial(EXP_POLYNOMIAL, y, 2.0 ** (127 - bias))
    half = sar(shifted, 1)
    other_half = isub(shifted, half)
    return mul(iadd(p, shl(other_half, EXP_SHIFT)), shl(half, EXP_SHIFT))


def log_normal(x: Value) -> Expr:
    """Natural logarithm within 1 ulp of a positive, normal, finite x; any bits for another x."""
    sqrt_half = const(0x3F3504F3)
    e = sar(isub(x, sqrt_half), EXP_SHIFT)
    f = sub(isub(x, shl(e, EXP_SHIFT)), 1.0)  # x = 2^e (1 + f), exact
    e = i2f(e)
    ln2_hi, ln2_lo = 0.693359375, -2.12194440e-4  # 10 bits and the rest
    tail = fma(mul(f, f), _polynomial(LOG_POLYNOMIAL, f), mul(e, ln2_lo))
    return fma(e, ln2_hi, add(f, tail))


def log(x: Value) -> Expr:
    """Natural logarithm within 1 ulp everywhere: -inf of zeros, NaN of negatives, +inf of +inf."""
    scaled = mul(x, 2.0**23)
    subnormal = lt(x, 2.0**-126)
    of_positive = log_normal(sel(subnormal, isub(scaled, 23 << EXP_SHIFT), x))
    of_others = sel(shl(x, 1), float("nan"), -INF)  # x without its sign is zero or not
    return sel(lt(x, INF), sel(le(x, 0.0), of_others, of_positive), scaled)


def _logistic(x: Expr) -> tuple[Expr, Expr, Expr]:
    """(s, d, y) with 1 / (1 + e^-x) = s / d for -114 < x <= 32; s a power of two, 1 at x = 32.

    With e^-x = P / s, d = s + P: s falls as e^-x grows, so that nothing overflows. `y` is NaN iff x is.
    """
    bias = 300  # with it, s = 2^-floor((n + 46) / 2) for -x = n ln 2 + y
    shifted = fma(x, -LOG2_E, ROUND_TO_INTEGER + bias)
    n = sub(shifted, ROUND_TO_INTEGER + bias)
    y = fma(n, LN2_LO, fma(n, LN2_HI, x))  # the rest of x, not of -x: odd coefficients change sign
    top = len(EXP_POLYNOMIAL) - 1
    signed = tuple(c * (-1) ** (top - i) for i, c in enumerate(EXP_POLYNOMIAL))
    p = _polynomial(signed, y, 2.0 ** (512 - 127 - bias))  # exponents are added modulo 512
    s = isub(254 << EXP_SHIFT, shl(sar(shifted, 1), EXP_SHIFT))
    return s, add(s, iadd(iadd(p, shl(shifted, EXP_SHIFT)), s)), y


def sigmoid(x: Value) -> Expr:
    """1 / (1 + e^-x); subnormal results kept, NaN of NaN."""
    s, d, y = _logistic(min_(max_(x, -110.0), 32.0))
    return div(s, fma(y, 0.0, d))


def silu(x: Value) -> Expr:
    """x / (1 + e^-x) within 3 ulp everywhere; -0 below about -108.7 and for -inf, NaN of NaN."""
    x = max_(x, -110.0)
    s, d, _ = _logistic(min_(x, 32.0))
    return mul(div(x, d), s)


def gelu_tanh(x: Value) -> Expr:
    """x (1 + tanh(v)) / 2 with v = sqrt(2 / pi) (x + 0.044715 x^3); computed as x / (1 + e^-u), u = 2 v.

    The error of u is magnified by |u| in the negative tail: see the measured bound.
    """
    x = max_(x, -11.0)
    u = mul(mul(x, 1.5957691216057308), fma(mul(x, 0.044715), x, 1.0))
    s, d, _ = _logistic(min_(u, 32.0))
    return mul(div(x, d), s)


def rsqrt(x: Value) -> Expr:
    """1 / sqrt(x), each operation rounded."""
    return div(1.0, sqrt(x))


def philox4x32_10(c0: Expr, c1: Expr, k0: Expr, k1: Expr) -> Expr:
    """The first of the four 32-bit words of Philox-4x32-10 for counter (c0, c1, 0, 0) and key (k0, k1).

    Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011).
    """
    # the first round, where the upper half of the counter is zero, and so its products
    x0, x2, x3 = xor(c1, k0), xor(imulhi(c0, 0xD2511F53), k1), imul(c0, 0xD2511F53)
    x1: Expr | None = None
    for _ in range(9):
        k0, k1 = iadd(k0, 0x9E3779B9), iadd(k1, 0xBB67AE85)
        high0, low0 = imulhi(x0, 0xD2511F53), imul(x0, 0xD2511F53)
        high1, low1 = imulhi(x2, 0xCD9E8D57), imul(x2, 0xCD9E8D57)
        x0 = xor(high1 if x1 is None else xor(high1, x1), k0)
        x1, x2, x3 = low1, xor(xor(high0, x3), k1), low0
    return x0


def gumbel(bits: Value) -> Expr:
    """Gumbel noise -log(-log(u)) of 32 random bits; u is an odd multiple of 2^-24, so never 0 or 1."""
    u = mul(i2f(or_(shr(bits, 8), 1)), 2.0**-24)
    return neg(log_normal(neg(log_normal(u))))
