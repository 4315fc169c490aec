"""What `polygraphy` learns of this project: options of `polygraphy run`, loaders of real inputs, a runner for PyTorch."""
