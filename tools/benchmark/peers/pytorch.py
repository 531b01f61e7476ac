"""The tutorial's and the paper's networks and training step in PyTorch, as its users write them, for `make bench`.

Written from the papers: the same layers, sizes and initial values as ours; eager mode, Adam, activations in place where
that changes nothing, and one optimizer for both generators and one for both discriminators.

    python -m benchmark.peers.pytorch tutorial|paper NARROW

prints, as JSON for tests, the number of each network's parameters and the losses of a step on noise.
"""

import itertools
import json
import random
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional

POOL = 50  # past fakes of the paper


class InstanceNorm(nn.InstanceNorm2d):
    """PyTorch's own, without its refusal of a single pixel, which the tutorial's innermost layer is."""

    def forward(self, x):
        """`x` normalized."""
        return torch.instance_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, False)


def norm(channels: int, affine: bool) -> nn.Module:
    """Instance normalization: the tutorial's learns scale and shift, the paper's does not."""
    return InstanceNorm(channels, eps=1e-3 if affine else 1e-5, affine=affine)


def initialized(network: nn.Module) -> nn.Module:
    """Kernels and normalization's scale from N(0, 0.02), all else 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) or getattr(module, "affine", False):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


class Unet(nn.Module):
    """The tutorial's generator, `[batch, 3, height, width]` to the same."""

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
        """Paints."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([block(x), skip], 1)
        return self.image(x)


class Block(nn.Module):
    """A residual block of the paper."""

    def __init__(self, filters: int):
        super().__init__()
        layers = []
        for part in range(2):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(filters, filters, 3, bias=False), norm(filters, affine=False)]
            layers += [] if part else [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        """`x` and what the layers make of it."""
        return x + self.layers(x)


def resnet(filters: int = 64, blocks: int = 9) -> nn.Module:
    """The paper's generator."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, filters, 7, bias=False), norm(filters, False), nn.ReLU(inplace=True)]
    for wide in (filters, 2 * filters):
        layers += [nn.Conv2d(wide, 2 * wide, 3, 2, 1, bias=False), norm(2 * wide, False), nn.ReLU(inplace=True)]
    layers += [Block(4 * filters) for _ in range(blocks)]
    for wide in (4 * filters, 2 * filters):
        layers += [nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, 1, bias=False), norm(wide // 2, False),
                   nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(filters, 3, 7), nn.Tanh())


def discriminator(filters: int = 64, affine: bool = True, leak: float = 0.3) -> nn.Module:
    """The 70x70 PatchGAN, `[batch, 3, height, width]` to logits."""
    layers, before = [], 3
    for level in range(4):
        after = filters * 2**level
        layers += [nn.Conv2d(before, after, 4, 2 if level < 3 else 1, 1, bias=False)]
        layers += [norm(after, affine)] if level else []
        layers += [nn.LeakyReLU(leak, inplace=True)]
        before = after
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))


def cross_entropy(logits: torch.Tensor, target: float) -> torch.Tensor:
    """Mean binary cross-entropy of logits against one target."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def least_squares(logits: torch.Tensor, target: float) -> torch.Tensor:
    """Mean square of what logits are off one target."""
    return functional.mse_loss(logits, torch.full_like(logits, target))


class Pool:
    """The paper's past fakes: half of what a discriminator is shown once there are `POOL` of them."""

    def __init__(self):
        self.fakes = []

    def swapped(self, fake: torch.Tensor) -> torch.Tensor:
        """The fake to show for `fake`, a batch of one."""
        if len(self.fakes) < POOL:
            self.fakes.append(fake.clone())
            return fake
        if random.random() < 0.5:
            return fake
        place = random.randrange(POOL)
        shown, self.fakes[place] = self.fakes[place], fake.clone()
        return shown


class Peer:
    """The four networks by our names, and `step(photo, monet)` to the losses."""

    def __init__(self, preset: str, narrow: int = 1):
        """The networks of the preset `tutorial` or `paper`; `narrow` divides all filters, for tests."""
        tutorial, filters = preset == "tutorial", 64 // narrow
        self.adversarial = cross_entropy if tutorial else least_squares
        generators = [Unet(filters) if tutorial else resnet(filters) for _ in range(2)]
        critics = [discriminator(filters, tutorial, 0.3 if tutorial else 0.2) for _ in range(2)]
        self.pools = [] if tutorial else [Pool(), Pool()]
        self.memory_format = torch.contiguous_format if tutorial else torch.channels_last  # as measured
        names = ("photo_to_monet", "monet_to_photo", "monet_discriminator", "photo_discriminator")
        self.networks = {name: initialized(network).to(memory_format=self.memory_format)
                         for name, network in zip(names, generators + critics, strict=True)}
        self.optimizers = [torch.optim.Adam([*pair[0].parameters(), *pair[1].parameters()], 2e-4, (0.5, 0.999))
                           for pair in (generators, critics)]

    def step(self, photo: torch.Tensor, monet: torch.Tensor) -> dict:
        """One step on a batch of each side, `[batch, 3, height, width]`; returns the losses by our names."""
        to_monet, to_photo, monet_critic, photo_critic = self.networks.values()
        for_generators, for_critics = self.optimizers
        for critic in (monet_critic, photo_critic):
            critic.requires_grad_(False)
        for_generators.zero_grad()
        fake_monet, fake_photo = to_monet(photo), to_photo(monet)
        cycled_photo, cycled_monet = to_photo(fake_monet), to_monet(fake_photo)
        distance = functional.l1_loss
        losses = {"cycle": 10.0 * (distance(cycled_photo, photo) + distance(cycled_monet, monet)),
                  "identity": 5.0 * (distance(to_monet(monet), monet) + distance(to_photo(photo), photo)),
                  "photo_to_monet": self.adversarial(monet_critic(fake_monet), 1.0),
                  "monet_to_photo": self.adversarial(photo_critic(fake_photo), 1.0)}
        sum(losses.values()).backward()
        for_generators.step()
        for critic in (monet_critic, photo_critic):
            critic.requires_grad_(True)
        for_critics.zero_grad()
        fakes = [fake_monet.detach(), fake_photo.detach()]
        if self.pools:
            fakes = [pool.swapped(fake) for pool, fake in zip(self.pools, fakes, strict=True)]
        shown = {"monet_discriminator": (monet, fakes[0]), "photo_discriminator": (photo, fakes[1])}
        for name, (real, fake) in shown.items():
            critic = self.networks[name]
            losses[name] = 0.5 * (self.adversarial(critic(real), 1.0) + self.adversarial(critic(fake), 0.0))
            losses[name].backward()
        for_critics.step()
        return {name: loss.item() for name, loss in losses.items()}


def prepared(images, peer: Peer) -> torch.Tensor:
    """NumPy `[batch, height, width, 3]` as the peer wants them, in the memory format that its preset is faster with."""
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=peer.memory_format)


def main() -> None:
    """The program."""
    peer = Peer(sys.argv[1], int(sys.argv[2]))
    counts = {name: sum(part.numel() for part in network.parameters()) for name, network in peer.networks.items()}
    noise = np.random.default_rng(0).uniform(-1, 1, [1, 256, 256, 3]).astype(np.float32)
    losses = peer.step(prepared(noise, peer), prepared(-noise, peer))
    print(json.dumps({"parameters": counts, "losses": losses}))


if __name__ == "__main__":
    main()
