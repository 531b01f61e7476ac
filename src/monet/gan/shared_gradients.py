"""Gradients of the kernels of a network that one step calls several times: one product over all calls.

A tape takes a product of inputs and output gradients for each call and adds them up. In a U-Net's inner layers, whose
kernels are far larger than what flows through them, that keeps a second set of kernels' gradients in memory while the
step goes back through the first calls, and makes three more passes over each.
"""

import tensorflow as tf
from tensorflow import keras

from monet.networks.space_to_depth import inner_ends


def convolutions(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers of `network` that this is for, if their features are small."""
    return [layer for layer in network.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose))]


def tapped(network: keras.Model) -> keras.Model:
    """`network`, of pictures in tiles if it folds them, with more outputs: what goes into each of its convolutions, and
    then what comes out of each."""
    layers = convolutions(network)
    inputs, outputs = inner_ends(network)
    return keras.Model(inputs, [*outputs, *[layer.input for layer in layers], *[layer.output for layer in layers]])


def number_count(tensors: list) -> int:
    """Numbers in all of `tensors`, whose shapes must be known."""
    return sum(tensor.shape.num_elements() for tensor in tensors)


class Calls:
    """The calls of one network in one step, and its gradients over all of them.

    Call it under a tape; then `gradients(tape.gradient(total, sources()))`, with the sources of all networks at once.
    """

    def __init__(self, network: keras.Model, tapped_network: keras.Model):
        """No calls yet of `network`, of which `tapped` made the other."""
        self.network, self.tapped_network = network, tapped_network
        self.seen = [([], []) for _ in convolutions(network)]

    def __call__(self, inputs: list) -> tf.Tensor:
        """The network's output for `inputs`, in training."""
        output, *taps = self.tapped_network(inputs, training=True)
        ins, outs = taps[:len(self.seen)], taps[len(self.seen):]
        for (kept_ins, kept_outs), into, out_of in zip(self.seen, ins, outs, strict=True):
            kept_ins.append(into)
            kept_outs.append(out_of)
        return output

    def late_layers(self) -> list[tuple]:
        """The layers whose weights are more numbers than they take and make in all calls: (layer, inputs, outputs)."""
        layers = zip(convolutions(self.network), self.seen, strict=True)
        return [(layer, ins, outs) for layer, (ins, outs) in layers
                if number_count(ins) + number_count(outs) < number_count(layer.trainable_variables)]

    def sources(self) -> tuple[list, list]:
        """What the tape must differentiate by: the outputs of the late layers, and the weights of the others."""
        late = self.late_layers()
        theirs = {id(variable) for layer, _, _ in late for variable in layer.trainable_variables}
        others = [variable for variable in self.network.trainable_variables if id(variable) not in theirs]
        return [outputs for _, _, outputs in late], others

    def gradients(self, found: tuple[list, list]) -> list[tf.Tensor]:
        """From the gradients by `sources`, those by the network's trainable variables, in their order."""
        late, others = self.late_layers(), iter(found[1])
        by_variable = {}
        for (layer, inputs, _), output_gradients in zip(late, found[0], strict=True):
            with tf.GradientTape() as tape:
                output = layer(tf.concat(inputs, 0))  # unused in a graph, which leaves it out
            weights = layer.trainable_variables
            gradients = tape.gradient(output, weights, output_gradients=tf.concat(output_gradients, 0))
            by_variable |= {id(weight): gradient for weight, gradient in zip(weights, gradients, strict=True)}
        return [by_variable[id(variable)] if id(variable) in by_variable else next(others)
                for variable in self.network.trainable_variables]
