"""Networks trained by others, as explicit inputs: a weights file by path, nothing downloaded, nothing random."""
