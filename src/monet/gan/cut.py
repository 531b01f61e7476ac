"""Contrastive unpaired translation (CUT, Park et al. 2020): one generator, one discriminator, no cycle."""

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.random_numbers import named_seeds, split_seed, uniform
from monet.gan.discriminator import Discriminator, collect_states
from monet.gan.loss_scale import make_loss_scale
from monet.gan.optimizers import make_optimizer, own_rate, run_length
from monet.networks.build import build_generator
from monet.networks.generators import block_count
from monet.networks.layers import normal_initializer
from monet.networks.step_calls import call_each

EMBEDDING = 256  # length of a place's embedding (paper)
CUT_SEEDS = ("paint_photo", "paint_monet", "nce", "nce_identity", "fool", "monet")


def unit_length(vectors: tf.Tensor) -> tf.Tensor:
    """Divides `[…, channels]` by their length."""
    return tf.math.l2_normalize(vectors, axis=-1)


def projection_network(widths: list[int], name: str) -> keras.Model:
    """A two-layer perceptron for each layer that is compared.

    Args:
        widths: channels of each layer's features.
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
        # Zero vectors stay zero, with a finite gradient, unlike in Keras 3's own layer.
        embedded.append(keras.layers.Lambda(unit_length, dtype="float32", name=f"mlp{number}_unit")(x))
    return keras.Model(features, embedded, name=name)


class Cut:
    """The generator, the discriminator and the projection of CUT.

    The attributes are those of `CycleGan`; there is no `monet_to_photo`.
    """

    def __init__(self, config: Config):
        """Builds the players.

        Raises:
            UserError: for an unknown name, or a size that a network cannot take.
        """
        self.config = config
        generator = build_generator(config, "photo_to_monet")
        self.discriminator = Discriminator(config, "monet_discriminator")
        layers = [generator.get_layer(name).output for name in encoder_layers(config)]
        self.encoder = keras.Model(generator.inputs[0], layers)  # without dropout, so it needs no seed
        self.painting_encoder = keras.Model(generator.inputs, [generator.output, *layers])
        self.networks = {"photo_to_monet": generator, "monet_discriminator": self.discriminator.network,
                         "projection": projection_network([layer.shape[-1] for layer in layers], "projection")}
        self.length = run_length(config)
        self.optimizers = {name: make_optimizer(own_rate(config, name), network, self.length,
                                                average=name == "photo_to_monet")
                           for name, network in self.networks.items()}
        self.loss_scale = make_loss_scale(config)
        self.states = collect_states({"monet_discriminator": self.discriminator}, self.loss_scale)
        contrasts = ("nce", "nce_identity") if config.nce_identity else ("nce",)
        self.loss_names = (*contrasts, "photo_to_monet", "monet_discriminator")

    def losses_and_gradients(self, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor, progress: float = 0.0,
                             share: float = 1.0):
        """The losses and gradients of all players on one batch; arguments and results are `CycleGan`'s.

        As in the paper's code, the contrastive losses on photos and on paintings are averaged. Only `instance_noise`
        depends on `progress`.
        """
        seeds = named_seeds(seed, CUT_SEEDS)
        generator, projection = self.networks["photo_to_monet"], self.networks["projection"]
        with tf.GradientTape() as tape:
            # The generator paints and keeps its encoder's features.
            fake, photo_features, same, monet_features = self.paint(photo, monet, seeds)
            # Each painted place must match its source; the discriminator judges.
            weight = self.config.nce_weight / (2 if self.config.nce_identity else 1)
            losses = {"nce": weight * self.nce_loss(photo_features, fake, seeds["nce"])}
            if self.config.nce_identity:
                losses["nce_identity"] = weight * self.nce_loss(monet_features, same, seeds["nce_identity"])
            losses["photo_to_monet"] = self.discriminator.generator_loss(fake, seeds["fool"], progress)
            total = share * tf.add_n(list(losses.values()))
        # Gradients: of generator and projection, then of the discriminator.
        found = tape.gradient(total, [generator.trainable_variables, projection.trainable_variables])
        gradients = dict(zip(("photo_to_monet", "projection"), found, strict=True))
        name = "monet_discriminator"
        losses[name], gradients[name] = self.discriminator.loss_and_gradients(
            monet, fake, seeds["monet"], share, progress, self.optimizers[name].iterations)
        return losses, gradients

    def paint(self, photo: tf.Tensor, monet: tf.Tensor, seeds: dict) -> tuple:
        """Paints photos and, with `nce_identity`, paintings: (fake, photo's features, same, monet's features)."""
        batches = [photo, monet] if self.config.nce_identity else [photo]
        own_seeds = iter((seeds["paint_photo"], seeds["paint_monet"]))
        (fake, *photo_features), *rest = call_each(
            lambda images: self.painting_encoder([images, next(own_seeds)], training=True), batches, self.config)
        same, *monet_features = rest[0] if rest else (None,)
        return fake, photo_features, same, monet_features

    def nce_loss(self, sources: list[tf.Tensor], painted: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The mean PatchNCE over layers, places and images.

        Args:
            sources: the layers' features of the source images.
            painted: the images painted from them, `[batch, height, width, 3]`.
            seed: int32 `[2]`, for the places.
        """
        places = self.draw_places(sources, seed)
        results = self.encoder(painted, training=True)
        keys, queries = self.embed(sources, places), self.embed(results, places)
        losses = [patch_nce(query, key, self.config.nce_temperature)
                  for query, key in zip(queries, keys, strict=True)]
        return tf.add_n(losses) / len(losses)

    def draw_places(self, layers: list[tf.Tensor], seed: tf.Tensor) -> list[tf.Tensor]:
        """Draws positions to compare in each layer: `nce_patches` distinct ones, or all if there are fewer."""
        drawn = []
        for layer, own_seed in zip(layers, split_seed(seed, len(layers)), strict=True):
            places = layer.shape[1] * layer.shape[2]
            draws = uniform([places], own_seed)
            drawn.append(tf.math.top_k(-draws, min(self.config.nce_patches, places)).indices)
        return drawn

    def embed(self, features: list[tf.Tensor], places: list[tf.Tensor]) -> list[tf.Tensor]:
        """Embeds some places of each layer.

        Args:
            features: `[batch, height, width, channels]` per layer.
            places: positions in the flattened height and width, int32 `[n]` per layer.

        Returns:
            `[batch, n, EMBEDDING]` per layer, of unit length.
        """
        chosen = []
        for layer, positions in zip(features, places, strict=True):
            batch, height, width, channels = layer.shape
            flat = tf.reshape(layer, [batch, height * width, channels])
            chosen.append(tf.cast(tf.gather(flat, positions, axis=1), tf.float32))
        return self.networks["projection"](chosen, training=True)


def patch_nce(queries: tf.Tensor, keys: tf.Tensor, temperature: float) -> tf.Tensor:
    """PatchNCE (Park et al. 2020, equation 3): each query must pick the key of its own place from its image's.

    Args:
        queries: `[batch, places, features]` of unit length, from the painted images.
        keys: the same from the sources; no gradient flows into them.
        temperature: divisor of the similarities.

    Returns:
        The mean cross-entropy, a float32 scalar; log(places) if all look alike.
    """
    similarities = tf.matmul(queries, tf.stop_gradient(keys), transpose_b=True) / temperature
    places = tf.broadcast_to(tf.range(tf.shape(queries)[1]), tf.shape(queries)[:2])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=places, logits=similarities))


def encoder_layers(config: Config) -> list[str]:
    """Names of the five generator layers that contrastive learning compares (Park et al. 2020): the image, the
    convolutions that halve it, and in a ResNet the first and the middle residual block."""
    if config.generator == "resnet":
        blocks = dict.fromkeys((1, (block_count(config) + 1) // 2))  # may coincide
        return ["image", "down1_conv", "down2_conv", *(f"block{block}" for block in blocks)]
    return ["image", *(f"down{level}_conv" for level in range(1, min(config.generator_levels, 4) + 1))]
