"""What needs a look: failed gates, shortcuts, classes that stand out. And the verdict."""
