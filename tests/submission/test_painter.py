"""monet.submission.painter: how a generator paints a batch."""

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import Config
from monet.networks.generators import generator_inputs, generator_model
from monet.submission import painter
from monet.submission.painter import make_painter


def network_of(layer):
    image, seed = generator_inputs()
    return generator_model(image, seed, layer(image), Config(), "network")


def test_the_margin_is_cut_off_and_changes_only_the_border():
    """A network that adds up 3x3 pixels sees zeros past the edge without a margin, and mirrored pixels with one."""
    network = network_of(tf.keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer="ones",
                                                         use_bias=False))
    ones = tf.ones([1, 8, 8, 3])
    plain, wide = make_painter(network)(ones).numpy(), make_painter(network, 2)(ones).numpy()
    assert (plain[0, 0, 0, 0], plain[0, 0, 4, 0], plain[0, 4, 4, 0]) == (4, 6, 9)
    np.testing.assert_array_equal(wide, np.full([1, 8, 8, 3], 9.0))


@pytest.mark.parametrize("images", [1, 3, 4])
def test_operations_of_one_thread_paint_the_same_in_parts(images, monkeypatch):
    """Batches that two cores share evenly, and others."""
    network = network_of(tf.keras.layers.Conv2D(3, 3, padding="same"))
    batch = tf.random.stateless_uniform([images, 8, 8, 3], [1, 2], -1, 1)
    whole = make_painter(network, 2)(batch).numpy()
    monkeypatch.setattr(painter, "operations_at_once", lambda: 2)
    np.testing.assert_allclose(make_painter(network, 2)(batch), whole, atol=1e-6)
