"""From fragments to what any algorithm learns from: rows, duplicates, minibatches, gradients."""
