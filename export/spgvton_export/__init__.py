"""From checkpoints to model bundles: ONNX graphs, the TPS operator, parity checks."""
