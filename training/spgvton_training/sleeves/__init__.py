"""The network that finds the sleeves of a garment's picture (`spgvton.perception.garment_sleeves`): data, training.

python -m spgvton_training.sleeves --help
"""
