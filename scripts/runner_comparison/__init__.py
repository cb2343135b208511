"""The demo's atlas on every runner that can be had, byte for byte: `scripts/runners`."""
