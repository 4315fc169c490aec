"""From a bundle's ONNX graph to a TensorRT engine: one file per step, put together in build.py."""
