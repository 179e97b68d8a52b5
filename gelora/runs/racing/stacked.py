"""Adapters and heads of several arms, stacked on one frozen model: row r * B + b of a batch is row b of arm r.

The base model multiplies once for all arms; what an arm trains is a slice of a stack, and ranks below the largest are
padded with zeros that stay zeros. Does not depend on tasks, optimizers or runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from torch import nn

from gelora.errors import ModelError

ADAPTER = "default"
_RANKS_A_TILE = 8  # on a GPU: its matrix units take that many values of 16 bits at once


@dataclass(frozen=True)
class ArmWeights:
    """What one arm trains, at its beginning, by module name of the base model.

    factors: A [rank, in], B [out, rank] and alpha / rank of every adapted module; heads: parameters of every module that is
    trained whole, by the module's name and the parameter's name in it; decayed: names of those that weight decay touches;
    of_base: whether B·A begins as a part of the base weights, which is taken out of them (PiSSA, OLoRA).
    """

    factors: dict[str, tuple[torch.Tensor, torch.Tensor, float]]
    heads: dict[str, dict[str, torch.Tensor]]
    decayed: frozenset[str]
    of_base: bool = False


def arm_weights(peft_model: nn.Module, decayed: Sequence[str], of_base: bool = False) -> ArmWeights:
    """The trainable weights of a PEFT model with one LoRA adapter.

    Args:
        peft_model: from `gelora.ranks.apply_plan`; without dropout and DoRA.
        decayed: names of its parameters that weight decay touches, as the Trainer finds them.
        of_base: whether its adapters begin as a part of the base weights.
    """
    factors, heads, marked = {}, {}, set()
    wanted = set(decayed)
    for full, module in peft_model.named_modules():
        name = full.removeprefix("base_model.model.")
        if isinstance(module, LoraLayer):
            a, b = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight
            factors[name] = (a.detach().clone(), b.detach().clone(), float(module.scaling[ADAPTER]))
            if f"{full}.lora_A.{ADAPTER}.weight" in wanted:
                marked.add(name)
        elif isinstance(module, ModulesToSaveWrapper):
            saved = module.modules_to_save[ADAPTER]
            heads[name] = {key: value.detach().clone() for key, value in saved.named_parameters()}
            marked |= {f"{name}.{key}" for key in heads[name] if f"{full}.modules_to_save.{ADAPTER}.{key}" in wanted}
    return ArmWeights(factors, heads, frozenset(marked), of_base)


class Stack:
    """All that all arms train, as one matrix [n_arms, n_values], of which its parameters are views, and their gradients likewise."""

    def __init__(self, n_arms: int, device: torch.device) -> None:
        self.n_arms, self.device = n_arms, device
        self._tensors: list[tuple[torch.Tensor, bool, Callable[[nn.Parameter], None]]] = []
        self.beginnings: list[torch.Tensor] = []
        """What arms begin with that is taken out of the base weights, [n_arms, ...] each; it stays as it is."""

    def add(self, stacked: torch.Tensor, decays: bool, place: Callable[[nn.Parameter], None]) -> None:
        """Take up a tensor [n_arms, ...]; `place` is given its parameter by `build`."""
        self._tensors.append((stacked, decays, place))

    def build(self) -> None:
        """Lay all tensors side by side and hand out their parameters."""
        sizes = [tensor[0].numel() for tensor, _, _ in self._tensors]
        self.values = torch.zeros(self.n_arms, sum(sizes), device=self.device)
        self.gradients = torch.zeros_like(self.values)
        self.decays = torch.zeros(sum(sizes), device=self.device)
        self.parameters: list[nn.Parameter] = []
        self._places: list[torch.Tensor] = []
        start = 0
        for (tensor, decays, place), size in zip(self._tensors, sizes, strict=True):
            view = self.values[:, start : start + size].view(tensor.shape)
            view.copy_(tensor)
            self.decays[start : start + size] = float(decays)
            parameter = nn.Parameter(view)
            place(parameter)
            self._places.append(self.gradients[:, start : start + size].view(tensor.shape))
            self.parameters.append(parameter)
            start += size
        self._tensors.clear()

    @torch.no_grad()
    def gather_gradients(self) -> None:
        """Take the parameters' gradients over into the matrix; they have none then."""
        taken = [(place, p.grad) for place, p in zip(self._places, self.parameters, strict=True) if p.grad is not None]
        torch._foreach_copy_([place for place, _ in taken], [gradient for _, gradient in taken])
        for parameter in self.parameters:
            parameter.grad = None


class StackedLora(nn.Module):
    """A frozen linear layer with one adapter an arm.

    The layer is shared, so that where an arm's B·A begins as a part of its weight, this part (`begun`) is taken off the
    output in place of the weight.
    """

    def __init__(self, base: nn.Module, scalings: Sequence[float], device: torch.device) -> None:
        super().__init__()
        self.base, self.n_arms = base, len(scalings)
        self._scaling = torch.tensor(scalings, device=device).view(-1, 1, 1)
        self.a: nn.Parameter  # [n_arms, in, r_max]
        self.b: nn.Parameter  # [n_arms, r_max, out]
        self.begun: tuple[torch.Tensor, torch.Tensor] | None = None  # A [n_arms, in, r], B [n_arms, r, out]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(x)
        is_shared = x.shape[0] == 1 and self.n_arms > 1  # the same for all rows: relative positions
        rows = x.expand(self.n_arms, *x.shape[1:]) if is_shared else x
        flat = rows.reshape(self.n_arms, -1, x.shape[-1])
        result = result.expand(*rows.shape[:-1], -1)
        by_arm = result.reshape(self.n_arms, -1, result.shape[-1])
        if self.begun is not None:
            by_arm = torch.baddbmm(by_arm, torch.bmm(flat, self.begun[0]), -self.begun[1] * self._scaling)
        result = torch.baddbmm(by_arm, torch.bmm(flat, self.a), self.b * self._scaling).view(result.shape)
        if is_shared:
            result.by_arm = True  # type: ignore[attr-defined]
        return result


class StackedLinear(nn.Module):
    """A linear layer of its own for every arm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight: nn.Parameter  # [n_arms, out, in]
        self.bias: nn.Parameter | None = None  # [n_arms, out]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_arms, n_out, _ = self.weight.shape
        result = torch.bmm(x.reshape(n_arms, -1, x.shape[-1]), self.weight.transpose(1, 2))
        if self.bias is not None:
            result = result + self.bias[:, None]
        return result.view(*x.shape[:-1], n_out)


class StackedLayerNorm(nn.Module):
    """A layer norm of its own for every arm."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight: nn.Parameter  # [n_arms, width]
        self.bias: nn.Parameter | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_arms, width = self.weight.shape
        normed = nn.functional.layer_norm(x, (width,), eps=self.eps).reshape(n_arms, -1, width)
        result = normed * self.weight[:, None]
        if self.bias is not None:
            result = result + self.bias[:, None]
        return result.view(x.shape)


def stack_arms(model: nn.Module, arms: Sequence[ArmWeights]) -> Stack:
    """Freeze a model and put the arms on it; returns what is trained. The model is changed in place.

    Args:
        model: with the task's head, on its device, no adapter.
        arms: at least one; they may adapt different modules with different ranks, but train the same heads whole.

    Raises:
        ModelError: a module that is trained whole holds something other than linear layers and layer norms.
    """
    device = next(model.parameters()).device
    model.requires_grad_(False)
    stack = Stack(len(arms), device)
    for name in sorted({name for arm in arms for name in arm.factors}):
        _adapt(model, name, arms, stack)
    for name in arms[0].heads:
        _head(model, name, arms, stack)
    stack.build()
    _relative_positions(model, len(arms))
    return stack


def _adapt(model: nn.Module, name: str, arms: Sequence[ArmWeights], stack: Stack) -> None:
    base = model.get_submodule(name)
    there = [arm.factors[name] for arm in arms if name in arm.factors]
    r_max = max(a.shape[0] for a, _, _ in there)
    if next(base.parameters()).device.type == "cuda":
        r_max += -r_max % _RANKS_A_TILE
    n_in, n_out = there[0][0].shape[1], there[0][1].shape[0]
    a, b = torch.zeros(len(arms), n_in, r_max), torch.zeros(len(arms), r_max, n_out)
    scalings = [0.0] * len(arms)
    for i, arm in enumerate(arms):
        if name in arm.factors:
            of_arm, back, scalings[i] = arm.factors[name]
            a[i, :, : len(of_arm)], b[i, : back.shape[1]] = of_arm.T, back.T
    layer = StackedLora(base, scalings, next(base.parameters()).device)
    if any(arm.of_base for arm in arms if name in arm.factors):
        of_base = torch.tensor([float(arm.of_base) for arm in arms]).view(-1, 1, 1)
        layer.begun = ((a * of_base).to(stack.device), (b * of_base).to(stack.device))
        stack.beginnings += layer.begun
    decays = any(name in arm.decayed for arm in arms)
    stack.add(a, decays, lambda parameter: setattr(layer, "a", parameter))
    stack.add(b, decays, lambda parameter: setattr(layer, "b", parameter))
    _replace(model, name, layer)


def _head(model: nn.Module, name: str, arms: Sequence[ArmWeights], stack: Stack) -> None:
    head = model.get_submodule(name)
    leaves = {path: module for path, module in head.named_modules() if any(True for _ in module.parameters(recurse=False))}
    for path, module in leaves.items():
        if isinstance(module, nn.Linear):
            stacked: nn.Module = StackedLinear()
        elif isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
            stacked = StackedLayerNorm(module.eps)
        else:
            raise ModelError(
                f"{name}{'.' if path else ''}{path} is a {type(module).__name__}; arms train linear layers and layer norms whole."
            )
        for key, _ in module.named_parameters(recurse=False):
            full = f"{path}.{key}" if path else key
            together = torch.stack([arm.heads[name][full] for arm in arms])
            stack.add(together, f"{name}.{full}" in arms[0].decayed, lambda p, to=stacked, k=key: setattr(to, k, p))  # type: ignore[misc]
        _replace(model, f"{name}.{path}" if path else name, stacked)


def _replace(model: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)


def _relative_positions(model: nn.Module, n_arms: int) -> None:
    """DeBERTa projects its relative positions once for all rows and repeats the result: here once for every arm."""
    for module in model.modules():
        if type(module).__name__ == "DisentangledSelfAttention" and hasattr(module, "transpose_for_scores"):
            module.transpose_for_scores = _by_arm(module.transpose_for_scores, n_arms)  # type: ignore[assignment, arg-type]


def _by_arm(usual: Callable[..., torch.Tensor], n_arms: int) -> Callable[..., "torch.Tensor | _PerArm"]:
    def transpose(x: torch.Tensor, n_heads: int) -> "torch.Tensor | _PerArm":
        result = usual(x, n_heads)
        return _PerArm(result, n_arms) if getattr(x, "by_arm", False) else result

    return transpose


class _PerArm:
    """Heads of relative positions, [n_arms * n_heads, positions, width], that are repeated for the rows of their arm alone."""

    def __init__(self, tensor: torch.Tensor, n_arms: int) -> None:
        self._tensor, self._n_arms = tensor, n_arms

    def repeat(self, n: int, *_: int) -> torch.Tensor:
        by_arm = self._tensor.view(self._n_arms, 1, -1, *self._tensor.shape[1:])
        return by_arm.expand(-1, n // self._n_arms, -1, -1, -1).reshape(-1, *self._tensor.shape[1:])
