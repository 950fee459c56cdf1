"""The encoders of pictures on the report card, and the factors that each of them is asked about.

for name, title in ENCODERS.items():
    features[title] = evaluate.features(pretrained.load_encoder(name), cards.images)
"""

ENCODERS = {
    "ae": "AE",
    "dae": "DAE",
    "vae": "VAE",
    "patch": "patch",
    "jigsaw": "jigsaw",
    "colour": "colour",
    "simclr": "SimCLR",
    "supcon": "SupCon",
    "clip": "CLIP",
}
"""Each bundled checkpoint, and its name in figures."""

FACTORS = ("object", "colour", "biome", "weather", "night", "size", "x", "y")
"""What the probes look for: factors of the postcards."""
