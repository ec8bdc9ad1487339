"""The protocol's messages: `.proto` files, and the modules that `make protos` writes of them."""
