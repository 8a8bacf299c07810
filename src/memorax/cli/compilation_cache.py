"""Compiled programs on disk, so that the second start of the same job compiles nothing."""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Give the folder of compiled programs: `memorax/programs` among the user's caches, and in it one for each CPU.

    Programs for one CPU may not run on another that shares the home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "memorax" / "programs" / hashlib.sha256(_cpu().encode()).hexdigest()[:12]


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles, unless its own variables say something else.

    `JAX_COMPILATION_CACHE_DIR` names another folder, `JAX_ENABLE_COMPILATION_CACHE=false` keeps nothing.
    """
    import jax

    settings: Any = jax.config
    if settings.jax_compilation_cache_dir is None and settings.jax_enable_compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _cpu() -> str:
    """Describe what the CPU can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    features = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(features)])
