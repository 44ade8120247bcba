"""A wrong setting is named as it was written, with the nearest of those that stand in its place."""

from typing import Literal

import pytest
from pydantic import Field

from cinerecon.config import Config
from cinerecon.errors import ConfigError


class Disc(Config):
    kind: Literal["disc"] = "disc"
    radius: float = 1.0


class Box(Config):
    kind: Literal["box"] = "box"
    width: float = Field(1.0, gt=0)


class Scene(Config):
    shapes: dict[str, Disc | Box] = Field({}, description="by name")
    back: Disc | None = None
    first: Disc | Box = Field(Disc(), discriminator="kind")


class Tagged(Config):
    scene: Scene = Scene()
    size: int = 1


@pytest.mark.parametrize(
    ("setting", "named", "hint"),
    [
        ("sise=2", "sise", "did you mean 'size'? known: scene, size"),
        ("scene.shape={}", "scene.shape", "did you mean 'shapes'?"),
        ("scene.back.radus=2", "scene.back.radus", "did you mean 'radius'? known: kind, radius"),
        ("scene.first={kind: box, widht: 2}", "scene.first.widht", "did you mean 'width'? known: kind, width"),
        ("scene.first={kind: box, width: -2}", "scene.first.width", ""),
    ],
)
def test_a_wrong_key_is_named_with_the_nearest(setting, named, hint):
    with pytest.raises(ConfigError) as caught:
        Tagged().with_settings([setting])
    assert f"setting '{named}'" in caught.value.what
    assert caught.value.hint.startswith(hint)
