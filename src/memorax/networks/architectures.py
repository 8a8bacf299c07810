"""Stacks of blocks from the literature: GTrXL, xLSTM, GPT-2, Mamba-2, frame stacking."""

import math
from functools import partial
from typing import Any, Literal

import flax.linen as nn

from memorax.core.checks import check, choice, sequence, size
from memorax.networks import initializers
from memorax.networks.blocks import (
    FFN,
    GLU,
    GatedResidual,
    PostNorm,
    PreNorm,
    Projection,
    Residual,
    SegmentRecurrence,
    Stack,
)
from memorax.networks.layers import Frames
from memorax.networks.sequence_models import MODELS, Attention, Mamba2, ModelEntry, mLSTM, sLSTM

_ScaledNorm = partial(nn.LayerNorm, epsilon=1e-5, use_bias=False)
_RMSNorm = partial(nn.RMSNorm, epsilon=1e-5)


def gtrxl(
    features: int = 64,
    *,
    num_layers: int = 2,
    memory_length: int = 64,
    ffn_dim: int | None = None,
    remember: Literal["inputs", "keys"] = "inputs",
    **options: Any,
) -> Stack:
    """Gated Transformer-XL (GTrXL): attention with a memory of each layer's inputs, and gated residual connections.

    A layer is `x = g(x, relu(attention(norm(x))))`, then `x = g(x, relu(ffn(norm(x))))`, with GRU gates `g` that start
    near the identity, and relative positions. A dense layer in front maps the inputs to the width of the stack.

    Args:
        features: Width of every layer and of the output.
        num_layers: Number of layers; the last one depends on up to `num_layers * memory_length` earlier steps.
        memory_length: Number of earlier steps that each layer attends to.
        ffn_dim: Width inside the feed-forward networks; None: four times `features`.
        remember: `"inputs"`, as in the paper: keys and values of earlier steps are recomputed from cached inputs in
            every call, so that gradients train their projections; a single step costs `memory_length` projections.
            `"keys"` caches keys and values. The outputs are the same.
        **options: Further fields of `SelfAttentionConfig`, such as `num_heads`; `dtype` is that of all activations.

    Returns:
        A sequence model.

    Raises:
        TypeError: If a size is no integer.
        ValueError: If a size is below 1, or `remember` unknown.

    Source:
        Parisotto et al. 2020, "Stabilizing Transformers for Reinforcement Learning", https://arxiv.org/abs/1910.06764
    """
    _check_options("gtrxl", options)
    features, num_layers = check("features", features, size()), check("num_layers", num_layers, size())
    check("memory_length", memory_length, size())
    check("remember", remember, choice("inputs", "keys"))
    ffn_dim = 4 * features if ffn_dim is None else check("ffn_dim", ffn_dim, size())
    dtype = options.get("dtype")
    options = {"positional_embedding": "relative", **options, "context_length": memory_length + 1}
    blocks: list[nn.Module] = [Projection(features, dtype=dtype)]
    for _ in range(num_layers):
        attention = Attention(features, **options)
        memory = SegmentRecurrence(attention, memory_length) if remember == "inputs" else attention
        ffn = FFN(ffn_dim, activation=nn.relu, dtype=dtype)
        blocks += [GatedResidual(PreNorm(Stack(blocks=[layer, nn.relu]))) for layer in (memory, ffn)]
    return Stack(blocks=blocks)


def xlstm(
    features: int = 64,
    *,
    ratio: tuple[int, int] = (1, 1),
    repeats: int = 1,
    num_heads: int = 4,
    inner_dim: int | None = None,
    dtype: Any = None,
) -> PostNorm:
    """xLSTM[m:s]: `m` blocks with an mLSTM, then `s` with an sLSTM, repeated; a layer norm at the end.

    A block is `x + mlstm(norm(x))`, or `x + slstm(norm(x))` and then `x + glu(norm(x))`. A projection in front brings
    the inputs to the width of the stack.

    Args:
        features: Width of every block and of the output.
        ratio: `(m, s)`; the paper's language models are `(1, 0)` and `(7, 1)`.
        repeats: Number of groups of `m + s` blocks.
        num_heads: Heads of each memory.
        inner_dim: Width inside the mLSTMs; None: twice `features`, rounded up to whole heads and blocks.
        dtype: Type of the activations; None: that of the inputs.

    Returns:
        A sequence model.

    Raises:
        TypeError: If a size is no integer, or `ratio` no pair of them.
        ValueError: If a size is below 1, or `ratio` holds a negative number or nothing but zeros.

    Source:
        Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", https://arxiv.org/abs/2405.04517
    """
    features, repeats = check("features", features, size()), check("repeats", repeats, size())
    num_heads = check("num_heads", num_heads, size())
    ratio = _check_ratio(ratio)
    count = repeats * sum(ratio)
    step = math.lcm(num_heads, 4)  # whole heads, and whole blocks of queries, keys and values
    inner = -(-2 * features // step) * step if inner_dim is None else inner_dim
    blocks: list[nn.Module] = [Projection(features, dtype=dtype)]

    def add(module: nn.Module) -> None:
        blocks.append(Residual(PreNorm(module, norm=_ScaledNorm)))

    for index in range(count):
        options = {"num_heads": num_heads, "num_blocks": count, "dtype": dtype}
        if index % sum(ratio) < ratio[0]:
            add(mLSTM(features, inner_dim=inner, **options))
            continue
        into, out = initializers.small(features), initializers.wang(features, count)
        add(sLSTM(features, block_index=index, **options))
        add(GLU(-(-4 * features // 3), activation=nn.gelu, dtype=dtype, up_init=into, down_init=out))
    return PostNorm(Stack(blocks=blocks), norm=_ScaledNorm)


def _check_options(name: str, options: dict[str, Any]) -> None:
    if "hidden_dim" in options:
        raise TypeError(
            f"`{name}` has no `hidden_dim`; write `features` for the width of its layers and its output, or `ffn_dim` "
            "for the width inside its feed-forward networks"
        )


def _check_ratio(ratio: tuple[int, int]) -> tuple[int, int]:
    pair = check("ratio", ratio, sequence(size(0)))
    if len(pair) != 2:
        raise TypeError(f"`ratio` must be a pair of integers such as (7, 1), got {ratio!r}")
    if sum(pair) < 1:
        raise ValueError(f"`ratio` must hold one block or more, got {ratio!r}")
    return pair[0], pair[1]


def gpt2(features: int = 64, *, num_layers: int = 2, ffn_dim: int | None = None, **options: Any) -> PostNorm:
    """A pre-norm Transformer decoder as in GPT-2: attention and feed-forward layers in turn, a layer norm at the end.

    Differs from the paper: each layer attends to a window of `context_length` steps; positions count from the episode's
    start, and their learned vectors are added in front of every attention; projections of the attention have no bias,
    and all kernels are initialized as Flax does. A dense layer in front maps the inputs to the width of the stack.

    Args:
        features: Width of every layer and of the output.
        num_layers: Number of layers.
        ffn_dim: Width inside the feed-forward networks; None: four times `features`.
        **options: Further fields of `SelfAttentionConfig`, such as `num_heads` and `context_length`; `dtype` is that of
            all activations.

    Returns:
        A sequence model.

    Raises:
        TypeError: If a size is no integer.
        ValueError: If a size is below 1.

    Source:
        Radford et al. 2019, "Language Models are Unsupervised Multitask Learners",
        https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
    """
    _check_options("gpt2", options)
    features, num_layers = check("features", features, size()), check("num_layers", num_layers, size())
    ffn_dim = 4 * features if ffn_dim is None else check("ffn_dim", ffn_dim, size())
    dtype = options.get("dtype")
    options = {"positional_embedding": "learned", **options}
    blocks: list[nn.Module] = [Projection(features, dtype=dtype)]
    for _ in range(num_layers):
        attention = Attention(features, **options)
        ffn = FFN(ffn_dim, dtype=dtype)
        blocks += [Residual(PreNorm(layer)) for layer in (attention, ffn)]
    return PostNorm(Stack(blocks=blocks))


def mamba2_stack(features: int = 64, *, num_layers: int = 2, **options: Any) -> PostNorm:
    """Pre-norm residual layers of Mamba-2 with an RMS norm at the end, as in the authors' language models.

    A dense layer in front maps the inputs to the width of the stack.

    Args:
        features: Width of every layer and of the output.
        num_layers: Number of layers.
        **options: Further fields of `Mamba2Config`. `head_dim` makes a layer twice as wide inside, rounded up, unless
            given; `dtype` is that of all activations.

    Returns:
        A sequence model.

    Raises:
        TypeError: If a size is no integer.
        ValueError: If a size is below 1.

    Source:
        Dao and Gu 2024, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State
        Space Duality", https://arxiv.org/abs/2405.21060
    """
    features, num_layers = check("features", features, size()), check("num_layers", num_layers, size())
    check("num_heads", heads := options.get("num_heads", 4), size())
    options = {"head_dim": -(-2 * features // heads)} | options
    layers = [Residual(PreNorm(Mamba2(features, **options), norm=_RMSNorm)) for _ in range(num_layers)]
    return PostNorm(Stack(blocks=[Projection(features, dtype=options.get("dtype")), *layers]), norm=_RMSNorm)


def frame_stack(features: int = 64, *, num_frames: int = 4, dtype: Any = None) -> Stack:
    """Frame stacking: the last few inputs concatenated, then one dense layer; a baseline for memory models.

    Each input is projected to `features`; the layer maps those of the last `num_frames` steps of the episode, zeros
    where there were none. Nothing else is remembered.

    Args:
        features: Width of the projection and of the output.
        num_frames: Number of inputs, the current one included.
        dtype: Type of the activations; None: that of the inputs.

    Returns:
        A sequence model.

    Raises:
        TypeError: If a size is no integer.
        ValueError: If a size is below 1.

    Source:
        Mnih et al. 2015, "Human-level control through deep reinforcement learning",
        https://doi.org/10.1038/nature14236; its agents observe the last four frames
    """
    check("num_frames", num_frames, size())
    first, last = Projection(features, dtype=dtype), Projection(features, dtype=dtype)
    return Stack(blocks=[first, Frames(features, num_frames), last, nn.relu])


_HEADS = {"num_heads": 2, "head_dim": 4}
_SMALL = _HEADS | {"num_layers": 1, "ffn_dim": 7}
MODELS.register("gtrxl", ModelEntry(gtrxl, receptive_field=3, example=_SMALL | {"memory_length": 2}))
MODELS.register("xlstm", ModelEntry(xlstm, tolerance=1e-3, example={"num_heads": 3, "inner_dim": 12}))
MODELS.register("gpt2", ModelEntry(gpt2, receptive_field=3, example=_SMALL | {"context_length": 3}))
MODELS.register("mamba2_stack", ModelEntry(mamba2_stack, example=_HEADS | {"num_layers": 1, "state_dim": 7}))
MODELS.register("frame_stack", ModelEntry(frame_stack, receptive_field=3, example={"num_frames": 3}))
