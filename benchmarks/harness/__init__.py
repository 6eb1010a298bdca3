"""What the benchmarks against other programs share: what is asked, who is asked, what is kept."""
