"""A submission kit for Kaggle's gan-getting-started: a CycleGAN turns photos into Monet paintings."""

from monet.core.process import open_streams, set_home, set_variables

set_home()
set_variables()
open_streams()
