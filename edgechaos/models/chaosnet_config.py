"""What defines a ChaosNet besides its weights, and the configuration that suits a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgechaos.data import Dataset
from edgechaos.graph.kinds.chaos_layer import TickMode
from edgechaos.graph.tokenizer import Text
from edgechaos.models.config import Config, Rule

Front = Literal["pixels", "dense", "vision", "language"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosNetConfig(Config):
    """Everything that defines the network besides its weights. The tick mode is not visible in the weights.

    hidden: neurons per spiking layer. mean, std: of the pixels / 255, one per channel (channels first).
    fail_prob: the layers' own spike loss, at evaluation too; omission as augmentation belongs to the recipe.
    signed: training keeps every recurrent row on the side of 0 where it starts, excitatory or inhibitory.
    front: what stands before the cortex (`edgechaos.models.fronts`). dense: embed values of all pixels. vision: image (C, H, W)
    of `inputs` pixels, channels of the convolutions, embed values into the cortex, `average` over the whole image or not. language:
    text, `inputs` tokens, embed.
    """

    called = "ChaosNet"

    hidden: tuple[int, ...] = (64,)
    ticks: int = 10
    mode: TickMode = "parallel"
    threshold: float = 0.5
    noise_std: float = 0.01
    decay: float = 0.02
    refractory_decay: float = 0.95
    fail_prob: float = 0.0
    signed: bool = False
    front: Front = "pixels"
    image: tuple[int, ...] = ()
    channels: tuple[int, ...] = (16, 32)
    embed: int = 16
    average: bool = False
    text: Text | None = None

    def rules(self) -> tuple[Rule, ...]:
        """Of layers and settings."""
        fractions = ("decay", "refractory_decay", "fail_prob")
        return (
            ("hidden", len(self.hidden) > 0 and min(self.hidden) > 0, "one or more layer sizes of at least 1"),
            ("ticks", self.ticks > 0, "at least 1"),
            ("mode", self.mode in ("parallel", "stateful"), "'parallel' or 'stateful'"),
            ("threshold", math.isfinite(self.threshold), "finite"),
            ("noise_std", self.noise_std >= 0, "at least 0"),
            *((f, 0.0 <= getattr(self, f) <= 1.0, "in 0..1") for f in fractions),
            ("front", self.front in get_args(Front), "'pixels', 'dense', 'vision' or 'language'"),
            ("embed", self.embed > 0, "at least 1"),
            ("text", (self.front == "language") == (self.text is not None), "a vocabulary for the language front-end, and only there"),
            ("signals", not self.signals or self.front in ("pixels", "dense"), "false for images and texts"),
            ("channels", len(self.channels) > 0 and min(self.channels) > 0, "one or more sizes of at least 1"),
            ("image", self.front != "vision" or self._has_image(), "(channels, height, width) that hold the inputs and every halving"),
        )

    def _has_image(self) -> bool:
        return len(self.image) == 3 and math.prod(self.image) == self.inputs and min(self.image[1:]) >> len(self.channels) > 0

    @property
    def cortex_inputs(self) -> int:
        """Values that the first spiking layer reads."""
        return self.inputs if self.front == "pixels" else self.embed


def config_for(data: Dataset, **options: Any) -> ChaosNetConfig:
    """The configuration of a ChaosNet for a data set; `options` are fields of ChaosNetConfig.

    A data set of texts takes the language front-end, one of images the pixels, or vision by `front="vision"`.
    """
    about: dict[str, Any] = {"inputs": data.inputs, "classes": data.classes, "mean": data.mean, "std": data.std, "signals": data.signals}
    if data.text is not None:
        about |= {"front": "language", "text": data.text}
    elif options.get("front") == "vision":
        about |= {"image": data.image}
    return ChaosNetConfig(**about | options)
