"""monet.core.keras_compat: what other cells of a notebook set before the kit's networks are built."""

import sys

import pytest
from support.settings import TINY
from tensorflow import keras

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.keras_compat import reset_keras
from monet.networks.build import build_discriminator, build_generator


@pytest.fixture
def changed_keras():
    keras.backend.set_image_data_format("channels_first")
    keras.backend.set_floatx("float16")
    yield
    reset_keras()


def test_networks_are_built_as_ever_after_keras_was_changed(changed_keras):
    config = make_config(**TINY)
    generator = build_generator(config, "photo_to_monet")
    assert generator.output_shape[-1] == 3
    assert {str(weight.dtype) for weight in generator.get_weights()} == {"float32"}
    discriminator = build_discriminator(config, "monet_discriminator", "patch")
    assert discriminator.output_shape[-1] == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Keras 2 computes with TensorFlow only")
def test_another_backend_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UserError, match="torch"):
        build_generator(make_config(**TINY), "photo_to_monet")
