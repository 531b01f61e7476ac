"""Contrastive unpaired translation (CUT, Park et al. 2020): one generator and one discriminator, no way back."""

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.gan.diffaugment import split_seed
from monet.gan.discriminator import Discriminator, apply_apart, states_of
from monet.gan.loss_scale import make_loss_scale
from monet.gan.losses import patch_nce
from monet.gan.optimizers import make_optimizer
from monet.networks.build import build_generator
from monet.networks.generators import encoder_layers
from monet.networks.layers import normal_initializer

EMBEDDING = 256  # numbers that describe a place (paper)


class UnitLength(keras.layers.Layer):
    """Divides vectors by their length; those of zeros stay, with a finite gradient, which Keras 3's layer has not."""

    def call(self, inputs):
        """`[…, channels]` to the same shape."""
        return tf.math.l2_normalize(inputs, axis=-1)

    def compute_output_shape(self, input_shape):
        """That of the input."""
        return input_shape


def projection_network(widths: list[int], name: str) -> keras.Model:
    """A two-layer perceptron for each layer that is compared.

    Args:
        widths: channels of the layers' features.
        name: the model's name.

    Returns:
        A model from a list of features `[batch, places, channels]` to a list of `[batch, places, EMBEDDING]` of unit
        length, float32.
    """
    features = [keras.Input((None, channels), name=f"features{number}") for number, channels in enumerate(widths)]
    embedded = []
    for number, x in enumerate(features):
        x = keras.layers.Dense(EMBEDDING, activation="relu", kernel_initializer=normal_initializer(),
                               name=f"mlp{number}_hidden")(x)
        x = keras.layers.Dense(EMBEDDING, kernel_initializer=normal_initializer(), dtype="float32",
                               name=f"mlp{number}_out")(x)
        embedded.append(UnitLength(dtype="float32", name=f"mlp{number}_unit")(x))
    return keras.Model(features, embedded, name=name)


class Cut:
    """The generator, the discriminator and the projection, and how one batch teaches them.

    The attributes are those of `CycleGan`; there is no `monet_to_photo`.
    """

    def __init__(self, config: Config):
        """Builds the players.

        Raises:
            UserError: for names or sizes that no network has.
        """
        self.config = config
        generator = build_generator(config, "photo_to_monet")
        self.discriminator = Discriminator(config, "monet_discriminator")
        layers = [generator.get_layer(name).output for name in encoder_layers(config)]
        self.encoder = keras.Model(generator.inputs[0], layers)  # drops nothing, and so needs no seed
        self.painting_encoder = keras.Model(generator.inputs, [generator.output, *layers])
        self.networks = {"photo_to_monet": generator, "monet_discriminator": self.discriminator.network,
                         "projection": projection_network([layer.shape[-1] for layer in layers], "projection")}
        self.optimizers = {name: make_optimizer(config, network, average=name == "photo_to_monet")
                           for name, network in self.networks.items()}
        self.loss_scale = make_loss_scale()
        self.states = states_of({"monet_discriminator": self.discriminator}, self.loss_scale)
        contrasts = ("nce", "nce_identity") if config.nce_identity else ("nce",)
        self.loss_names = (*contrasts, "photo_to_monet", "monet_discriminator")

    def embedded(self, features: list[tf.Tensor], places: list[tf.Tensor]) -> list[tf.Tensor]:
        """The embeddings of some places of each layer.

        Args:
            features: `[batch, height, width, channels]` a layer.
            places: positions in the flattened height and width, int32 `[n]` a layer.

        Returns:
            `[batch, n, EMBEDDING]` a layer, of unit length.
        """
        chosen = []
        for layer, positions in zip(features, places, strict=True):
            batch, height, width, channels = layer.shape
            flat = tf.reshape(layer, [batch, height * width, channels])
            chosen.append(tf.cast(tf.gather(flat, positions, axis=1), tf.float32))
        return self.networks["projection"](chosen, training=True)

    def drawn_places(self, layers: list[tf.Tensor], seed: tf.Tensor) -> list[tf.Tensor]:
        """Positions to compare in each layer, without repetition: all of them if there are no more than asked for."""
        drawn = []
        for layer, own_seed in zip(layers, split_seed(seed, len(layers)), strict=True):
            order = tf.argsort(tf.random.stateless_uniform([layer.shape[1] * layer.shape[2]], own_seed))
            drawn.append(order[:self.config.nce_patches])
        return drawn

    def nce_loss(self, sources: list[tf.Tensor], painted: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The mean PatchNCE over layers, places and images: what is painted at a place must show what was there.

        Args:
            sources: the layers' features of the source images.
            painted: what was painted from them, `[batch, height, width, 3]`.
            seed: int32 `[2]`, for the places.
        """
        places = self.drawn_places(sources, seed)
        results = self.encoder(painted, training=True)
        keys, queries = self.embedded(sources, places), self.embedded(results, places)
        losses = [patch_nce(query, key, self.config.nce_temperature)
                  for query, key in zip(queries, keys, strict=True)]
        return tf.add_n(losses) / len(losses)

    def losses_and_gradients(self, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor, progress: float = 0.0,
                             share: float = 1.0):
        """Losses of all players on one batch, and their gradients; arguments and result as `CycleGan`'s.

        As in the paper's code, the contrastive losses on photos and on paintings are averaged. Nothing here changes
        with `progress`.
        """
        generator, projection = self.networks["photo_to_monet"], self.networks["projection"]
        seeds = iter(split_seed(seed, 6))
        with tf.GradientTape() as tape:
            batches = [photo, monet] if self.config.nce_identity else [photo]
            seen = apply_apart(lambda images: self.painting_encoder([images, next(seeds)], training=True), batches,
                               self.config)
            weight = self.config.nce_weight / len(batches)
            losses = {name: weight * self.nce_loss(layers, painted, next(seeds))
                      for name, (painted, *layers) in zip(("nce", "nce_identity"), seen, strict=False)}
            fake = seen[0][0]
            losses["photo_to_monet"] = self.discriminator.fooling_loss(fake, next(seeds))
            total = share * tf.add_n(list(losses.values()))
        found = tape.gradient(total, [generator.trainable_variables, projection.trainable_variables])
        gradients = dict(zip(("photo_to_monet", "projection"), found, strict=True))
        name = "monet_discriminator"
        losses[name], gradients[name] = self.discriminator.loss_and_gradients(monet, fake, next(seeds), share)
        return losses, gradients
