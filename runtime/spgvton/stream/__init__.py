"""The live loop: sources, stages, sinks."""
