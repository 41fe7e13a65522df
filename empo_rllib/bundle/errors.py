"""The error of bundles, with or without the rest of `empo_rllib`."""

try:
    from empo_rllib.errors import BundleError
except ImportError:  # the copy in a bundle, on a machine without the package

    class BundleError(Exception):  # type: ignore[no-redef]
        """A bundle that is damaged or not one, or what is asked of it does not fit."""


__all__ = ["BundleError"]
