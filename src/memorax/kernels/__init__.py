"""How recurrences are computed fast, with exact resets. Kernels know arrays, not modules."""
