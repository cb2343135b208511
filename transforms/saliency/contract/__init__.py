"""The contract of methods: what they are given and give back, their parameters, their steps."""
