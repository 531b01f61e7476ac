"""The tutorial's and the paper's networks and training step in PyTorch, as its users write them, for `make bench`.

Written from the papers, with the same layers, sizes and initial values as ours: eager mode, Adam, in-place activations
where that changes nothing, one optimizer for both generators and one for both discriminators.

    python -m benchmark.peers.pytorch tutorial|paper NARROW

prints as JSON, for tests, each network's number of parameters and the losses of one step on noise.
"""

import itertools
import json
import os
import random
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional

POOL_SIZE = 50  # past fakes in the paper's image pool


def configure_torch() -> None:
    """Makes PyTorch use all cores, and flush denormals to 0, without which vanishing gradients slow it several times.

    TensorFlow does both by itself.
    """
    torch.set_num_threads(os.cpu_count())
    torch.set_flush_denormal(True)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalization that accepts a single pixel, the size of the tutorial's innermost layer."""

    def forward(self, x):
        """Returns `x` normalized."""
        return torch.instance_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, False)


def norm(channels: int, affine: bool) -> nn.Module:
    """Returns instance normalization; the tutorial's learns scale and shift, the paper's does not."""
    return InstanceNorm(channels, eps=1e-3 if affine else 1e-5, affine=affine)


def initialized(network: nn.Module) -> nn.Module:
    """Draws kernels and normalization scales from N(0, 0.02) and sets biases to 0; returns the network."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) or getattr(module, "affine", False):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


class Unet(nn.Module):
    """The tutorial's generator, `[batch, 3, height, width]` to the same shape."""

    def __init__(self, filters: int = 64, dropout: float = 0.5):
        super().__init__()
        widths = [min(2**level, 8) * filters for level in range(8)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (before, after) in enumerate(itertools.pairwise([3, *widths])):
            layers = [nn.Conv2d(before, after, 4, 2, 1, bias=False)]
            layers += [norm(after, affine=True)] if level else []
            self.down.append(nn.Sequential(*layers, nn.LeakyReLU(0.3, inplace=True)))
        before = widths[-1]
        for block, after in enumerate(reversed(widths[:-1])):
            layers = [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), norm(after, affine=True)]
            layers += [nn.Dropout(dropout)] if block < 3 else []
            self.up.append(nn.Sequential(*layers, nn.ReLU(inplace=True)))
            before = 2 * after
        self.image = nn.Sequential(nn.ConvTranspose2d(before, 3, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        """Paints a batch."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([block(x), skip], 1)
        return self.image(x)


class ResidualBlock(nn.Module):
    """The paper's residual block."""

    def __init__(self, filters: int):
        super().__init__()
        layers = []
        for convolution in range(2):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(filters, filters, 3, bias=False), norm(filters, affine=False)]
            layers += [] if convolution else [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        """Returns `x` plus the layers' output."""
        return x + self.layers(x)


def resnet(filters: int = 64, blocks: int = 9) -> nn.Module:
    """Returns the paper's generator, `[batch, 3, height, width]` to the same shape."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, filters, 7, bias=False), norm(filters, False), nn.ReLU(inplace=True)]
    for width in (filters, 2 * filters):
        layers += [nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), norm(2 * width, False), nn.ReLU(inplace=True)]
    layers += [ResidualBlock(4 * filters) for _ in range(blocks)]
    for width in (4 * filters, 2 * filters):
        layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1, bias=False), norm(width // 2, False),
                   nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(filters, 3, 7), nn.Tanh())


def discriminator(filters: int = 64, affine: bool = True, slope: float = 0.3) -> nn.Module:
    """Returns the 70x70 PatchGAN, `[batch, 3, height, width]` to logits; `slope` is that of the leaky ReLUs."""
    layers, before = [], 3
    for level in range(4):
        after = filters * 2**level
        layers += [nn.Conv2d(before, after, 4, 2 if level < 3 else 1, 1, bias=False)]
        layers += [norm(after, affine)] if level else []
        layers += [nn.LeakyReLU(slope, inplace=True)]
        before = after
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))


def cross_entropy(logits: torch.Tensor, target: float) -> torch.Tensor:
    """Returns the mean binary cross-entropy between logits and a target."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def least_squares(logits: torch.Tensor, target: float) -> torch.Tensor:
    """Returns the mean squared error between logits and a target."""
    return functional.mse_loss(logits, torch.full_like(logits, target))


class ImagePool:
    """The paper's pool of past fakes: once it is full, half of what a discriminator sees comes from it."""

    def __init__(self):
        self.fakes = []

    def query(self, fake: torch.Tensor) -> torch.Tensor:
        """Returns the fake to show instead of `fake`, a batch of one."""
        if len(self.fakes) < POOL_SIZE:
            self.fakes.append(fake.clone())
            return fake
        if random.random() < 0.5:
            return fake
        index = random.randrange(POOL_SIZE)
        past, self.fakes[index] = self.fakes[index], fake.clone()
        return past


class TorchCycleGan:
    """The four networks, under our names, and their training step."""

    def __init__(self, preset: str, narrow: int = 1):
        """Builds the networks of the preset `tutorial` or `paper`; tests divide all filters by `narrow`."""
        tutorial, filters = preset == "tutorial", 64 // narrow
        self.adversarial = cross_entropy if tutorial else least_squares
        generators = [Unet(filters) if tutorial else resnet(filters) for _ in range(2)]
        discriminators = [discriminator(filters, tutorial, 0.3 if tutorial else 0.2) for _ in range(2)]
        self.pools = [] if tutorial else [ImagePool(), ImagePool()]
        self.memory_format = torch.contiguous_format if tutorial else torch.channels_last  # the faster one, as measured
        names = ("photo_to_monet", "monet_to_photo", "monet_discriminator", "photo_discriminator")
        self.networks = {name: initialized(network).to(memory_format=self.memory_format)
                         for name, network in zip(names, generators + discriminators, strict=True)}
        self.optimizers = [torch.optim.Adam([*pair[0].parameters(), *pair[1].parameters()], 2e-4, (0.5, 0.999))
                           for pair in (generators, discriminators)]

    def step(self, photo: torch.Tensor, monet: torch.Tensor) -> dict:
        """Makes one step on `[batch, 3, height, width]` of each side; returns the losses under our names."""
        generator_optimizer, discriminator_optimizer = self.optimizers
        for name in ("monet_discriminator", "photo_discriminator"):
            self.networks[name].requires_grad_(False)
        generator_optimizer.zero_grad()
        losses, fakes = self.generator_losses(photo, monet)
        sum(losses.values()).backward()
        generator_optimizer.step()
        discriminator_optimizer.zero_grad()
        if self.pools:
            fakes = [pool.query(fake) for pool, fake in zip(self.pools, fakes, strict=True)]
        for name, real, fake in (("monet_discriminator", monet, fakes[0]), ("photo_discriminator", photo, fakes[1])):
            network = self.networks[name].requires_grad_(True)
            losses[name] = 0.5 * (self.adversarial(network(real), 1.0) + self.adversarial(network(fake), 0.0))
            losses[name].backward()
        discriminator_optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}

    def generator_losses(self, photo: torch.Tensor, monet: torch.Tensor) -> tuple[dict, list]:
        """Returns the generators' losses, and the fake paintings and photos, detached."""
        photo_to_monet, monet_to_photo, monet_discriminator, photo_discriminator = self.networks.values()
        l1 = functional.l1_loss
        fake_monet, fake_photo = photo_to_monet(photo), monet_to_photo(monet)
        cycled_photo, cycled_monet = monet_to_photo(fake_monet), photo_to_monet(fake_photo)
        losses = {"cycle": 10.0 * (l1(cycled_photo, photo) + l1(cycled_monet, monet)),
                  "identity": 5.0 * (l1(photo_to_monet(monet), monet) + l1(monet_to_photo(photo), photo)),
                  "photo_to_monet": self.adversarial(monet_discriminator(fake_monet), 1.0),
                  "monet_to_photo": self.adversarial(photo_discriminator(fake_photo), 1.0)}
        return losses, [fake_monet.detach(), fake_photo.detach()]

    def to_tensor(self, images: np.ndarray) -> torch.Tensor:
        """Returns images `[batch, height, width, 3]` as `step` takes them, in the preset's memory format."""
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)


def main() -> None:
    """Builds the networks, makes a step and prints the JSON."""
    configure_torch()
    model = TorchCycleGan(sys.argv[1], int(sys.argv[2]))
    counts = {name: sum(weights.numel() for weights in network.parameters())
              for name, network in model.networks.items()}
    noise = np.random.default_rng(0).uniform(-1, 1, [1, 256, 256, 3]).astype(np.float32)
    losses = model.step(model.to_tensor(noise), model.to_tensor(-noise))
    print(json.dumps({"parameters": counts, "losses": losses}))


if __name__ == "__main__":
    main()
