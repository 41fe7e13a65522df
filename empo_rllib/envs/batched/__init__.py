"""Environments written as kernels over arrays, many copies at a time."""
