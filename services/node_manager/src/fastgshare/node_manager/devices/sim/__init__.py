"""The `sim` device: any GPU, emulated by speed curves; nothing is computed and nothing is pretended to be measured."""
