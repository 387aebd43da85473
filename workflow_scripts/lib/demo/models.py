"""Config blocks of the demo: what it renders and the encoders it trains."""

from typing import Literal

from pydantic import Field

from workflow_scripts.lib.config.base import Block, Count, Natural


class DemoImages(Block):
    """A rendered image folder, see workflow_scripts/lib/demo/world.py."""

    content: Literal[
        "id", "unseen_shapes", "unseen_combinations", "textures", "noise", "gradients"
    ] = Field(description="What the images show.")
    images: Count = Field(description="Number of images.")
    seed: Natural = Field(0, description="Seed of the rendering.")
    sizes: Literal["balanced", "unequal"] = Field(
        "balanced", description="Equal class sizes or (as in real collections) unequal ones."
    )
    corruption: Literal["none", "blur", "noise", "sketch", "colour_cast", "low_resolution"] = Field(
        "none", description="Covariate shift applied to every image."
    )


class TinyClip(Block):
    """Training of one tiny CLIP."""

    seed: Natural = Field(0, description="Seed of the training.")
    steps: Count = Field(1100, description="Optimiser steps.")
