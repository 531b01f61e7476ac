"""A network as one training step uses it: called several times, differentiated once.

Two optimizations live here, so that the systems can read like their papers. Neither changes the mathematics.

Pictures for the same weights go through the network in one call (`call_each`). On two CPU cores, a step of `tutorial`
at batch size 1 then takes 0.85 of the time (0.64 to 0.97), and one of `cpu` 0.98 of the memory (0.98 to 0.99). (All
figures here: medians of 7 pairs, on and off, with the lowest and the highest.)

The gradients of large kernels are computed over all calls of a step at once (`GeneratorCalls`). A tape computes a
product of inputs and output gradients for each call and adds them up. In a U-Net's inner layers, where a kernel is far
larger than its inputs, that keeps a second set of gradients in memory and makes three more passes over each. With one
product, the same step's peak memory is 0.89 of what it is without (0.86 to 0.91), in 0.95 of the time (0.73 to 1.15).
"""

from collections.abc import Callable

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.random_numbers import split_seed
from monet.networks.space_to_depth import tile_size
from monet.networks.tiled_layers import tiled_ends

MOST_TILED = 16  # tiled pictures in one call: with more, a TPU's compiler moves layers off the chip


def call_each(network: Callable, batches: list[tf.Tensor], config: Config) -> list:
    """The output of `network` for each of `batches`, from one call if that gives the same result.

    Batch normalization makes images of one call depend on each other, so each batch then gets its own call.
    """
    if config.norm == "batch":
        return [network(batch) for batch in batches]
    outputs = network(tf.concat(batches, 0) if len(batches) > 1 else batches[0])
    parts = [tf.split(output, len(batches)) for output in tf.nest.flatten(outputs)]
    return [tf.nest.pack_sequence_as(outputs, part) for part in zip(*parts, strict=True)]


def convolutions(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers of `network` whose gradients can be shared."""
    return [layer for layer in network.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose))]


def with_features(network: keras.Model) -> keras.Model:
    """`network` with more outputs: the input of each of its convolutions, then the output of each."""
    layers = convolutions(network)
    inputs, outputs = tiled_ends(network)
    return keras.Model(inputs, [*outputs, *[layer.input for layer in layers], *[layer.output for layer in layers]])


def number_count(tensors: list) -> int:
    """Number of elements in all `tensors`, whose shapes must be static."""
    return sum(tensor.shape.num_elements() for tensor in tensors)


class StepGenerator:
    """A generator for training steps: `new_step()` begins the calls of one step."""

    def __init__(self, generator: keras.Model, config: Config):
        """`generator` is a model from `monet.networks.build.build_generator(config, …)`."""
        self.generator, self.config, self.model = generator, config, with_features(generator)

    def new_step(self) -> "GeneratorCalls":
        """An object that calls the generator during one step and computes its gradients."""
        return GeneratorCalls(self.generator, self.model, self.config)


class GeneratorCalls:
    """The calls of one generator in one step, under a tape, and its gradients over all of them."""

    def __init__(self, generator: keras.Model, model: keras.Model, config: Config):
        """No calls yet; `model` is `with_features(generator)`."""
        self.generator, self.model, self.config = generator, model, config
        self.features = [([], []) for _ in convolutions(generator)]  # inputs and outputs of each, call by call

    def __call__(self, *batches: tf.Tensor, seed: tf.Tensor) -> tf.Tensor | list[tf.Tensor]:
        """Paints each of `batches`; returns a picture batch for each, or the only one of a single batch.

        Args:
            *batches: equally shaped picture batches, `[batch, height, width, 3]` or in tiles.
            seed: int32 `[2]`, for dropout.
        """
        pictures = sum(batch.shape[0] or 0 for batch in batches)
        if self.config.norm == "batch" or (tile_size(self.config) > 1 and pictures > MOST_TILED):
            seeds = split_seed(seed, len(batches))
            painted = [self.call(batch, own) for batch, own in zip(batches, seeds, strict=True)]
        else:
            painted = call_each(lambda images: self.call(images, seed), list(batches), self.config)
        return painted if len(batches) > 1 else painted[0]

    def call(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Calls the network once, and keeps its features for the gradients."""
        painted, *features = self.model([images, seed], training=True)
        inputs, outputs = features[:len(self.features)], features[len(self.features):]
        for (kept_inputs, kept_outputs), into, out_of in zip(self.features, inputs, outputs, strict=True):
            kept_inputs.append(into)
            kept_outputs.append(out_of)
        return painted

    def shared_layers(self) -> list[tuple]:
        """The layers whose weights outnumber their inputs and outputs in all calls: (layer, inputs, outputs)."""
        layers = zip(convolutions(self.generator), self.features, strict=True)
        return [(layer, inputs, outputs) for layer, (inputs, outputs) in layers
                if number_count(inputs) + number_count(outputs) < number_count(layer.trainable_variables)]

    def sources(self) -> tuple[list, list]:
        """The sources for the tape's gradients: the outputs of the shared layers, and the weights of the others."""
        shared = self.shared_layers()
        excluded = {id(variable) for layer, _, _ in shared for variable in layer.trainable_variables}
        others = [variable for variable in self.generator.trainable_variables if id(variable) not in excluded]
        return [outputs for _, _, outputs in shared], others

    def gradients(self, by_source: tuple[list, list]) -> list[tf.Tensor]:
        """Turns the gradients of `sources()` into those of the generator's trainable variables, in order."""
        of_outputs, of_others = by_source[0], iter(by_source[1])
        by_variable = {}
        for (layer, inputs, _), output_gradients in zip(self.shared_layers(), of_outputs, strict=True):
            with tf.GradientTape() as tape:
                output = layer(tf.concat(inputs, 0))  # unused, so a graph leaves it out
            weights = layer.trainable_variables
            gradients = tape.gradient(output, weights, output_gradients=tf.concat(output_gradients, 0))
            by_variable |= {id(weight): gradient for weight, gradient in zip(weights, gradients, strict=True)}
        return [by_variable[id(variable)] if id(variable) in by_variable else next(of_others)
                for variable in self.generator.trainable_variables]


def gradients_of(tape: tf.GradientTape, total: tf.Tensor, generators: list[GeneratorCalls]) -> list[list[tf.Tensor]]:
    """The gradients of `total` for each generator's trainable variables, in order."""
    found = tape.gradient(total, [generator.sources() for generator in generators])
    return [generator.gradients(own) for generator, own in zip(generators, found, strict=True)]
