"""Random weights for the FID Inception, and files of them as PyTorch writes its zip format, made without PyTorch.

For tests of all that needs weights: the published ones cannot be had everywhere. NumPy and the standard library only,
because PyTorch's environment (`make peers`) reads this, too.
"""

import struct
import zipfile

import numpy as np

STORAGES = {"float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage",
            "int32": "IntStorage", "uint8": "ByteStorage", "bool": "BoolStorage"}


def block_a(width, pool):
    """Convolutions of a block by name: (channels in, out, kernel's height, width)."""
    return {"branch1x1": (width, 64, 1, 1), "branch5x5_1": (width, 48, 1, 1), "branch5x5_2": (48, 64, 5, 5),
            "branch3x3dbl_1": (width, 64, 1, 1), "branch3x3dbl_2": (64, 96, 3, 3), "branch3x3dbl_3": (96, 96, 3, 3),
            "branch_pool": (width, pool, 1, 1)}


def block_c(inner):
    """The same of a block with rows and columns of 7."""
    return {"branch1x1": (768, 192, 1, 1), "branch7x7_1": (768, inner, 1, 1), "branch7x7_2": (inner, inner, 1, 7),
            "branch7x7_3": (inner, 192, 7, 1), "branch7x7dbl_1": (768, inner, 1, 1),
            "branch7x7dbl_2": (inner, inner, 7, 1), "branch7x7dbl_3": (inner, inner, 1, 7),
            "branch7x7dbl_4": (inner, inner, 7, 1), "branch7x7dbl_5": (inner, 192, 1, 7),
            "branch_pool": (768, 192, 1, 1)}


def block_e(width):
    """The same of one of the last two blocks."""
    return {"branch1x1": (width, 320, 1, 1), "branch3x3_1": (width, 384, 1, 1), "branch3x3_2a": (384, 384, 1, 3),
            "branch3x3_2b": (384, 384, 3, 1), "branch3x3dbl_1": (width, 448, 1, 1), "branch3x3dbl_2": (448, 384, 3, 3),
            "branch3x3dbl_3a": (384, 384, 1, 3), "branch3x3dbl_3b": (384, 384, 3, 1),
            "branch_pool": (width, 192, 1, 1)}


STEM = {"Conv2d_1a_3x3": (3, 32, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (32, 64, 3, 3),
        "Conv2d_3b_1x1": (64, 80, 1, 1), "Conv2d_4a_3x3": (80, 192, 3, 3)}
BLOCKS = {
    "Mixed_5b": block_a(192, 32), "Mixed_5c": block_a(256, 64), "Mixed_5d": block_a(288, 64),
    "Mixed_6a": {"branch3x3": (288, 384, 3, 3), "branch3x3dbl_1": (288, 64, 1, 1), "branch3x3dbl_2": (64, 96, 3, 3),
                 "branch3x3dbl_3": (96, 96, 3, 3)},
    "Mixed_6b": block_c(128), "Mixed_6c": block_c(160), "Mixed_6d": block_c(160), "Mixed_6e": block_c(192),
    "Mixed_7a": {"branch3x3_1": (768, 192, 1, 1), "branch3x3_2": (192, 320, 3, 3), "branch7x7x3_1": (768, 192, 1, 1),
                 "branch7x7x3_2": (192, 192, 1, 7), "branch7x7x3_3": (192, 192, 7, 1),
                 "branch7x7x3_4": (192, 192, 3, 3)},
    "Mixed_7b": block_e(1280), "Mixed_7c": block_e(2048)}
CONVOLUTIONS = STEM | {f"{block}.{name}": shape for block, convolutions in BLOCKS.items()
                       for name, shape in convolutions.items()}


LAST = ("branch1x1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool")


def narrowed(name, shape, narrow):
    """The convolution's shape in a network of the same layers with a `narrow`-th of the channels, but 2048 features."""
    before, after, height, width = shape
    features = name in {f"Mixed_7c.{branch}" for branch in LAST}
    return before if before == 3 else before // narrow, after if features else after // narrow, height, width


def random_state(seed=0, narrow=1):
    """A whole state dict, as arrays by name, under which features differ from image to image as trained ones do.

    `narrow`, up to 16, divides the channels, for tests of what needs features and not those of the whole network.
    """
    draw, state = np.random.default_rng(seed), {}

    def put(name, array):
        state[name] = np.asarray(array, np.float32)

    for name, shape in CONVOLUTIONS.items():
        before, after, height, width = narrowed(name, shape, narrow)
        deviation = np.float32((2 / (before * height * width)) ** 0.5)
        put(f"{name}.conv.weight", draw.standard_normal((after, before, height, width), np.float32) * deviation)
        put(f"{name}.bn.weight", draw.uniform(0.7, 1.4, after))
        put(f"{name}.bn.bias", draw.normal(0.0, 0.1, after))
        put(f"{name}.bn.running_mean", draw.normal(0.0, 0.1, after))
        put(f"{name}.bn.running_var", draw.uniform(0.7, 1.4, after))
        state[f"{name}.bn.num_batches_tracked"] = np.asarray(7, np.int64)
    put("fc.weight", draw.normal(0.0, 0.02, (1008, 2048)))
    put("fc.bias", np.zeros(1008))
    return state


def integer(number):
    """The instruction that puts a number on a pickle's stack."""
    return b"J" + struct.pack("<i", number)


def text(words):
    """The instruction for a text."""
    return b"X" + struct.pack("<I", len(words.encode())) + words.encode()


def numbers(values):
    """The instructions for a tuple of numbers."""
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(key, array):
    """The instructions that PyTorch writes for a tensor that fills its storage."""
    storage = (b"(" + text("storage") + b"ctorch\n" + STORAGES[array.dtype.name].encode() + b"\n" + text(key)
               + text("cpu") + integer(array.size) + b"tQ")
    strides = [stride // array.itemsize for stride in np.asarray(array, order="C").strides]
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(0) + numbers(array.shape) + numbers(strides)
            + b"\x89ccollections\nOrderedDict\n)RtR")


def write_state_dict(path, state):
    """Writes arrays by name as `torch.save` does an ordered dict of tensors, in the zip format."""
    items = [text(name) + tensor(str(key), array) for key, (name, array) in enumerate(state.items())]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(items) + b"u.")
        archive.writestr("archive/byteorder", b"little")
        for key, array in enumerate(state.values()):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", b"3\n")
