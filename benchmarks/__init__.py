"""Side-by-side measurements that anyone can repeat; docs/benchmarks.md tells how."""
