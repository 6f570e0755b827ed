"""Whether the compiled core is the one that the sources beside the package describe.

Guaranteed: in a checkout, an import of a core that was built from other Rust sources warns and names both
builds, and so does, anywhere, an import of one that was not optimised. An installed wheel has no sources
beside it, and nothing to compare with. The comparison reads the sources: about 2 ms.
"""

import warnings
from pathlib import Path

from pyworkbench import _core
from pyworkbench.errors import DebugExtensionWarning, StaleExtensionWarning


def check(core_sources: Path, build_id: str, profile: str) -> None:
    """Warns if a core of that build and profile does not fit the sources in `core_sources`.

    Args:
        core_sources: the cargo workspace; nothing is compared where there is none.
        build_id: what the core was built from, as `_core.build_id()` says it.
        profile: how it was built, `release` or `debug`.
    """
    if (core_sources / "Cargo.lock").is_file():
        source_id = _core.source_id(core_sources)
        if source_id != build_id:
            warnings.warn(
                f"the compiled core is stale: it was built from {build_id}, the sources are {source_id}; "
                "`make build` builds it again",
                StaleExtensionWarning,
                stacklevel=2,
            )
    if profile != "release":
        warnings.warn(
            f"the compiled core {build_id} is a {profile} build, and slow; `make build` makes a release build",
            DebugExtensionWarning,
            stacklevel=2,
        )


def check_this_installation() -> None:
    """Compares the core that this process imports with the sources beside this package."""
    check(Path(__file__).parent.parent / "core_rs", _core.build_id(), _core.build_profile())
