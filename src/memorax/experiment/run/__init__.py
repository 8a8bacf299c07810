"""One run: training in compiled intervals, and the folder that it leaves behind."""
