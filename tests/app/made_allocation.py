"""Data of rank allocations with known numbers, and the rule in Python that the browser's picture is held against."""

from typing import Any

UNIFORM = (1, 2, 4, 8, 16)


def made_allocation(
    n_blocks: int, offset: int, kind: str = "usual", fixed: dict[int, int] | None = None, fits: str | None = None
) -> dict[str, Any]:
    """A allocation of `n_blocks` blocks.

    kind: usual (an undefined end), flat (no rises), limits (small and differing), extra (a unit added by a budget), compared (two
    other plans over it), stale, plain (no curve, no shares).
    """
    fixed = fixed or {}
    blocks = []
    for block in range(1, n_blocks + 1):
        rise = 0 if kind == "flat" else (0, 2, 1, 0, 0, 3, 0, 1)[block % 8]
        shares = [[], [1.0, 0.62, 0.1], [0.85, 0.3], [0.2], [], [1.0, 0.95, 0.55], [0.45], [0.75]][block % 8]
        modules = [{"n": 4, "per_rank": 768, "limit": 384, "fixed": fixed.get(block)}]
        if kind == "limits":
            modules = [
                {"n": 2, "per_rank": 512, "limit": 3, "fixed": fixed.get(block)},
                {"n": 1, "per_rank": 90_000_000, "limit": 5, "fixed": fixed.get(block)},
            ]
        unknown = kind == "usual" and block == 1 and n_blocks > 1
        blocks.append(
            {
                "block": block,
                "rise": 0 if unknown else rise,
                "extra": 1 if kind == "extra" and block == 2 else 0,
                "value": None if unknown else rise - 0.4,
                "low": None if unknown else rise - 1.1,
                "high": None if unknown else rise + 0.3,
                "shares": [] if kind in ("plain", "flat") or unknown else shares,
                "modules": modules,
                "note": "The embedding output has 28 distinct vectors of 2000." if unknown else None,
            }
        )
    values = [None, *(12 + 2.5 * ((i * 5) % 7) / 7 + 3 * (i / max(n_blocks, 1)) for i in range(n_blocks))]
    if kind != "usual":
        values[0] = 11.0
    curve = {
        "name": "TwoNN",
        "colour": "#0072B2",
        "dash": "solid",
        "symbol": "circle",
        "values": values,
        "low": [None if v is None else v - 0.8 for v in values],
        "high": [None if v is None else v + 0.8 for v in values],
        "layer_names": ["embeddings", *(f"block {i}" for i in range(1, n_blocks + 1))],
    }
    ranks = {str(block): 1 + block % 3 for block in range(1, n_blocks + 1)}
    cost = sum(m["n"] * m["per_rank"] for m in blocks[0]["modules"])
    return {
        "blocks": blocks,
        "curve": None if kind == "plain" else curve,
        "offset": offset,
        "max_offset": 8,
        "least_offset": 0,
        "shares_of": "half-samples",
        "n_shares": 0 if kind == "plain" else 20,
        "solid_from": 0.975,
        "uniform": [{"r": r, "params": r * cost * n_blocks} for r in UNIFORM],
        "n_model_params": 22_713_216,
        "bytes_per_param": 4,
        "optimizer_bytes_per_param": 8,
        "compare": {"label": "Gradient", "colour": "#009E73", "ranks": ranks, "params": sum(ranks.values()) * cost}
        if kind == "compared"
        else None,
        "overlay": {"label": "adapter_config.json", "ranks": {b: 4 for b in ranks}} if kind == "compared" else None,
        "editable": True,
        "stale": kind == "stale",
        "fits": fits,
    }


def ranks_at(data: dict[str, Any], offset: int) -> dict[int, list[int]]:
    """Block -> rank of each group of modules at `offset`."""
    return {
        block["block"]: [
            group["fixed"]
            if group["fixed"] is not None
            else min(offset + block["rise"] + (block["extra"] if offset == data["offset"] else 0), group["limit"])
            for group in block["modules"]
        ]
        for block in data["blocks"]
    }


def params_at(data: dict[str, Any], offset: int) -> int:
    """Adapter parameters at `offset`."""
    ranks = ranks_at(data, offset)
    return sum(g["n"] * g["per_rank"] * r for b in data["blocks"] for g, r in zip(b["modules"], ranks[b["block"]], strict=True))
