"""Paths in the checkout, and settings that train in seconds."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
TOOLS = ROOT / "tools"
FIXTURES = TESTS / "fixtures"
REAL_DATA = ROOT.parent / "shared" / "data" / "gan-getting-started"  # real paintings and photos, if present

NUM_MONET, NUM_PHOTO = 10, 16  # sizes of the small sets

TINY = {"generator_filters": 2, "generator_levels": 3, "discriminator_filters": 2, "image_size": 64,
        "jitter": 72, "batch_size": 2, "epochs": 2, "steps_per_epoch": 3, "tensorboard": False}
