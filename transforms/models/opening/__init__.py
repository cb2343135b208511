"""What opening a model needs beside its files: code of its own, and Keras 2."""
