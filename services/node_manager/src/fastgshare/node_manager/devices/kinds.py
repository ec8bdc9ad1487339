"""Names for kinds of devices, whose members run a model equally fast, as keys of profiles may hold them."""

MAX_CHARS = 63  # of a name: `shared.ids.is_name`


def kind_of(device: str, model: str, detail: str = "") -> str:
    """`cpu-amd-epyc-7763`, `cuda-nvidia-h200-132sm`: a long model name is cut, `detail` behind it never."""
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in model.lower()).split()
    end = f"-{detail}" if detail else ""
    return "-".join([device, *words])[: MAX_CHARS - len(end)].rstrip("-") + end
