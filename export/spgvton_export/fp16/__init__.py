"""FP16 bundles: the float32 graphs computing in float16 where that is safe, and the proof that they may."""
