"""A submission kit for Kaggle's gan-getting-started: photos repainted as Monet paintings by a CycleGAN."""

import os

# TensorFlow announces every library that it looks for; errors still show. Read when TensorFlow is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
