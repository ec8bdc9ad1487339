"""The drawings of docs/images, each in a light and a dark form. `python -m scripts.pictures` writes them anew."""
