"""Random weights for the FID Inception, and state-dict files in PyTorch's zip format, written without PyTorch.

For tests and benchmarks, because the published weights cannot be downloaded everywhere. NumPy and the standard library
only.
"""

import struct
import zipfile

import numpy as np

STORAGES = {"float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage",
            "int32": "IntStorage", "uint8": "ByteStorage", "bool": "BoolStorage"}


def block_a(width, pool):
    """Returns a block's convolutions by name: (input channels, output channels, kernel height, kernel width)."""
    return {"branch1x1": (width, 64, 1, 1), "branch5x5_1": (width, 48, 1, 1), "branch5x5_2": (48, 64, 5, 5),
            "branch3x3dbl_1": (width, 64, 1, 1), "branch3x3dbl_2": (64, 96, 3, 3), "branch3x3dbl_3": (96, 96, 3, 3),
            "branch_pool": (width, pool, 1, 1)}


def block_c(inner):
    """Returns the same for a block with 1 x 7 and 7 x 1 kernels."""
    return {"branch1x1": (768, 192, 1, 1), "branch7x7_1": (768, inner, 1, 1), "branch7x7_2": (inner, inner, 1, 7),
            "branch7x7_3": (inner, 192, 7, 1), "branch7x7dbl_1": (768, inner, 1, 1),
            "branch7x7dbl_2": (inner, inner, 7, 1), "branch7x7dbl_3": (inner, inner, 1, 7),
            "branch7x7dbl_4": (inner, inner, 7, 1), "branch7x7dbl_5": (inner, 192, 1, 7),
            "branch_pool": (768, 192, 1, 1)}


def block_e(width):
    """Returns the same for one of the last two blocks."""
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
# The convolutions whose outputs are the features.
FEATURE_CONVOLUTIONS = {f"Mixed_7c.{branch}" for branch in ("branch1x1", "branch3x3_2a", "branch3x3_2b",
                                                            "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool")}


def narrow_shape(name, shape, narrow):
    """Returns the convolution's shape with all channels divided by `narrow`, but for the image's 3 and the features."""
    inputs, outputs, height, width = shape
    return (inputs if inputs == 3 else inputs // narrow,
            outputs if name in FEATURE_CONVOLUTIONS else outputs // narrow, height, width)


def random_state(seed=0, narrow=1):
    """Returns a state dict, arrays by name, whose features differ between images about as much as trained ones do.

    Tests that need features but not the full network's divide its channels by `narrow`, at most 16.
    """
    random, state = np.random.default_rng(seed), {}
    for name, shape in CONVOLUTIONS.items():
        inputs, outputs, height, width = narrow_shape(name, shape, narrow)
        stddev = np.float32((2 / (inputs * height * width)) ** 0.5)
        state[f"{name}.conv.weight"] = random.standard_normal((outputs, inputs, height, width), np.float32) * stddev
        state[f"{name}.bn.weight"] = random.uniform(0.7, 1.4, outputs).astype(np.float32)
        state[f"{name}.bn.bias"] = random.normal(0.0, 0.1, outputs).astype(np.float32)
        state[f"{name}.bn.running_mean"] = random.normal(0.0, 0.1, outputs).astype(np.float32)
        state[f"{name}.bn.running_var"] = random.uniform(0.7, 1.4, outputs).astype(np.float32)
        state[f"{name}.bn.num_batches_tracked"] = np.asarray(7, np.int64)
    state["fc.weight"] = random.normal(0.0, 0.02, (1008, 2048)).astype(np.float32)
    state["fc.bias"] = np.zeros(1008, np.float32)
    return state


def integer(number):
    """Returns the pickle instruction for an int32."""
    return b"J" + struct.pack("<i", number)


def text(string):
    """Returns the pickle instruction for a string."""
    return b"X" + struct.pack("<I", len(string.encode())) + string.encode()


def numbers(values):
    """Returns the pickle instructions for a tuple of int32."""
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(key, array):
    """Returns the pickle instructions for a tensor that fills its storage, as PyTorch writes them."""
    storage = (b"(" + text("storage") + b"ctorch\n" + STORAGES[array.dtype.name].encode() + b"\n" + text(key)
               + text("cpu") + integer(array.size) + b"tQ")
    strides = [stride // array.itemsize for stride in np.asarray(array, order="C").strides]
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(0) + numbers(array.shape) + numbers(strides)
            + b"\x89ccollections\nOrderedDict\n)RtR")


def write_state_dict(path, state):
    """Writes arrays by name as `torch.save` writes an ordered dict of tensors, in the zip format."""
    items = [text(name) + tensor(str(key), array) for key, (name, array) in enumerate(state.items())]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(items) + b"u.")
        archive.writestr("archive/byteorder", b"little")
        for key, array in enumerate(state.values()):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", b"3\n")
