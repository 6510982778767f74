"""The front-ends of a ChaosNet: what turns an image or a text into the vector that its cortex reads.

Parameter names are those of the published checkpoints. Source: ChaosNet, as published: pixels go in directly; vision is twice
Conv3x3, BatchNorm, ReLU, MaxPool2, then, in one of its two forms, an average over the whole image, then Linear and ReLU; language
is the mean of the embeddings of a text's tokens. dense, Linear and ReLU on the pixels, is this project's: pixels at the width of a
shared cortex.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn

from edgechaos.floatgraph.float_nodes import BatchNorm, Conv, EmbeddingMean, FloatNode, MatMul, Pool, Relu, Shape
from edgechaos.models.base import array
from edgechaos.models.chaosnet_config import ChaosNetConfig

BLOCK = 4
"""Modules of one Conv, BatchNorm, ReLU, MaxPool block."""


def feature_extractor(config: ChaosNetConfig) -> nn.Sequential:
    """The convolutional blocks, and the average where the configuration has one."""
    modules: list[nn.Module] = []
    channels = (config.image[0], *config.channels)
    for before, after in itertools.pairwise(channels):
        modules += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*modules, *([nn.AdaptiveAvgPool2d(1)] if config.average else []))


def pooled_shape(config: ChaosNetConfig) -> Shape:
    """(channels, height, width) after the blocks, before an average."""
    halvings = len(config.channels)
    return (config.channels[-1], config.image[1] >> halvings, config.image[2] >> halvings)


def projection(config: ChaosNetConfig) -> nn.Sequential:
    """From the features of an image, or from its pixels (dense), to the embedding."""
    features = config.inputs
    if config.front == "vision":
        channels, height, width = pooled_shape(config)
        features = channels * (1 if config.average else height * width)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, config.embed), nn.ReLU())


def embedding_mean(weight: Tensor, ids: Tensor) -> Tensor:
    """(batch, dim): the mean over the ids that are not 0, an id beyond the vocabulary counting as 1; zeros for an empty text."""
    known = torch.where(ids < len(weight), ids, 1)
    present = (known != 0).to(weight.dtype)[:, :, None]
    total = (nn.functional.embedding(known, weight) * present).sum(dim=1)
    return total / present.sum(dim=1).clamp(min=1.0)


def describe_vision(extractor: nn.Sequential, project: nn.Sequential, config: ChaosNetConfig, value: str) -> list[FloatNode]:
    """The nodes of a vision front-end that reads the images `value`; the last one is `embed`."""
    nodes: list[FloatNode] = []
    for k in range(len(config.channels)):
        conv, norm = cast(nn.Conv2d, extractor[BLOCK * k]), cast(nn.BatchNorm2d, extractor[BLOCK * k + 1])
        assert conv.bias is not None
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = array(norm.weight) / (array(norm.running_var) + norm.eps) ** 0.5
        offset = array(norm.bias) - array(norm.running_mean) * scale
        nodes += [
            Conv(f"conv{k}_raw", value, array(conv.weight), array(conv.bias), pad=(1, 1)),
            BatchNorm(f"conv{k}", f"conv{k}_raw", scale, offset),
            Relu(f"relu{k}", f"conv{k}"),
            Pool(f"pool{k}", f"relu{k}", (2, 2), (2, 2)),
        ]
        value = f"pool{k}"
    if config.average:
        size = pooled_shape(config)[1:]
        nodes.append(Pool("average", value, (size[0], size[1]), (size[0], size[1]), average=True))
        value = "average"
    return [*nodes, *describe_dense(project, value)]


def describe_dense(project: nn.Sequential, value: str) -> list[FloatNode]:
    """The nodes of a projection that reads `value`; the last one is `embed`."""
    linear = cast(nn.Linear, project[1])
    return [MatMul("projection", value, array(linear.weight), array(linear.bias)), Relu("embed", "projection")]


def describe_language(embedding: nn.Embedding, value: str) -> list[FloatNode]:
    """The node of a language front-end that reads the token ids `value`: `embed`."""
    return [EmbeddingMean("embed", value, array(embedding.weight))]
