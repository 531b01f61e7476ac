"""A submission kit for Kaggle's gan-getting-started: a CycleGAN turns photos into Monet paintings."""

import os

# Silences TensorFlow's C++ log, which reports every optional library that it does not find, some as errors. Real errors
# reach Python as exceptions. The variable is read when TensorFlow is first imported.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")
