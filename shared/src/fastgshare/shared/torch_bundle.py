"""What the zip of a torch model holds, for whoever writes it and whoever reads it.

Beside the author's own files lie the weights and the name of the factory, both under fixed names. The factory is part
of the content so that two models made by one file with the same weights have digests of their own.
"""

from keyword import iskeyword

TORCH = "torch"
TORCH_EXPORT = "torch_export"

WEIGHTS_FILE = "weights.safetensors"
FACTORY_FILE = "factory.txt"


def is_factory(text: str) -> bool:
    """Whether `text` reads `module:name`: a module beside the weights, and what in it makes the model."""
    module, _, name = text.partition(":")
    return all(part.isidentifier() and not iskeyword(part) for part in (module, name))
