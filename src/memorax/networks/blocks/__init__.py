"""Blocks of deep torsos: residual connections, normalization, gates, feed-forward networks, stacks."""

from memorax.networks.blocks.feed_forward import FFN, GLU, Projection
from memorax.networks.blocks.moe import MoE
from memorax.networks.blocks.normalization import PostNorm, PreNorm
from memorax.networks.blocks.residual import GatedResidual, Residual
from memorax.networks.blocks.segment_recurrence import SegmentRecurrence
from memorax.networks.blocks.stack import Stack

__all__ = [
    "FFN",
    "GLU",
    "GatedResidual",
    "MoE",
    "PostNorm",
    "PreNorm",
    "Projection",
    "Residual",
    "SegmentRecurrence",
    "Stack",
]
