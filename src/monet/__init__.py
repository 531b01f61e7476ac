"""A submission kit for Kaggle's gan-getting-started: photos repainted as Monet paintings by a CycleGAN."""

import os

# TensorFlow's C++ side announces, some of it as errors, every library that it looks for and does not need; what goes
# wrong reaches Python as an exception. Read when TensorFlow is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
