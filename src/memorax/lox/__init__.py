"""Logging from inside compiled JAX programs: `log` a value where it is computed, collect it by `spool` or `tap`.

`log` returns nothing, and without `spool` or `tap` it leaves nothing in the compiled program. `spool(f)` is a function
that returns `(f's output, logs)`; `tap(f, callback)` calls the host with every log while the program runs.

Shapes of spooled logs, `{key: [*vmapped, time, ...]}`:

* every value has ONE time axis, with an entry for each call of `log`, in program order. Iterations of scans, nested
  ones included, are flattened into it, aligned with the scan's `ys`: those of a reverse scan are in the order of its
  inputs;
* axes of `jax.vmap` inside `f` come first, the outermost in front, so that `spool(vmap(f))`
  equals `vmap(spool(f))`;
* several logs of one key are joined along time; their shapes must agree. Nested dictionaries are joined by "/".

`jit`, `vmap`, `scan`, `cond`, `switch`, `jax.checkpoint` and logs inside differentiated functions (logged once, with
their primal values) all work. Arguments that are `jax.Array` or `numpy.ndarray` are traced; every other leaf (Python
numbers, strings, functions) is static and must be hashable. Repeated calls neither trace nor compile again.

Sharp bits:

* a `cond` has fixed shapes: what only the other branch logs is 0 at that time, and `logs.present[key]` is False. Logs
  of a branch that logs a key less often are padded at the end;
* `vmap` runs both branches of a `cond` whose predicate it batches: inside `spool(vmap(f))` both are logged. Use
  `vmap(spool(f))`, which logs the branch taken; the same holds for `tap`;
* a value that does not depend on what `vmap` maps gets no vmapped axis from `spool(vmap(f))` unless another value of
  the same call, or of the same key, has one;
* `while_loop` has no fixed length: `spool` refuses a log inside it, `tap` does not. A `fori_loop` whose bounds are
  Python integers is a scan;
* logs inside a `custom_jvp` or `custom_vjp` function come from a second evaluation of it: its derivative is kept;
* a program that logs keeps the arguments that only its logs need, and starts some 0.1 ms later than one without.
"""

from memorax.lox.logs import Logs as Logs
from memorax.lox.primitive import log as log
from memorax.lox.transforms import spool as spool
from memorax.lox.transforms import tap as tap
