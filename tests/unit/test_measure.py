"""The boundary to measurements: a point goes in as JSON, its row comes out as Arrow."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from pyworkbench import _core
from pyworkbench.errors import InputError


def point(**fields: Any) -> str:
    return json.dumps({"guest_bytes": 1 << 20, **fields})


def row(stream: bytes) -> dict[str, Any]:
    (row,) = pa.ipc.open_stream(io.BytesIO(stream)).read_all().to_pylist()
    return dict(row)


def test_a_measurement_is_one_row_of_the_schema() -> None:
    schema = pa.ipc.open_stream(io.BytesIO(_core.measurement_schema())).schema
    stream = pa.ipc.open_stream(io.BytesIO(_core.measure(point(threads=2), 3, 17)))
    assert stream.schema.equals(schema, check_metadata=True)
    assert schema.metadata == {b"pyworkbench.measurement": b"2"}
    assert all(field.nullable for field in schema)
    (measured,) = stream.read_all().to_pylist()
    assert (measured["repeat"], measured["run"], measured["status"]) == (3, 17, "ok")
    assert (measured["ops"], measured["maps"], measured["pages_freed"]) == (256, 256, 4)
    assert measured["classes"][0]["op"] == "fault"


def test_the_canonical_point_is_in_the_row() -> None:
    canonical = json.loads(_core.check_point(point(pattern="overlapping", delay_site="kvm_age_gfn")))
    measured = row(_core.measure(json.dumps(canonical), 0, 0))
    assert {name: measured[name] for name in canonical} == canonical
    assert canonical["pattern"] is None, "one thread has no pattern"


def test_points_are_checked_one_by_one() -> None:
    (fine, no_reason), (nothing, reason) = _core.check_points([point(), point(lock="rwlock")])
    assert fine == _core.check_point(point())
    assert (no_reason, nothing) == (None, None)
    assert reason is not None
    assert reason.startswith('lock "rwlock" is not one of qrwlock, ')
    with pytest.raises(InputError, match=r'^lock "rwlock" is not one of qrwlock, '):
        _core.check_point(point(lock="rwlock"))
    with pytest.raises(InputError, match=r"^threads 0 is not 1 to 128$"):
        _core.measure(point(threads=0), 0, 0)


def test_ctrl_c_ends_a_measurement() -> None:
    script = (
        "import os, signal, threading\n"
        "from pyworkbench import _core\n"
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        """    _core.measure('{"ops_per_thread": 1000000000000}', 0, 0)\n"""
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "interrupted\n"


def test_a_worker_needs_neither_pandas_nor_pyarrow() -> None:
    script = (
        "import sys\n"
        "from pyworkbench import _core\n"
        "_core.measure('{\"guest_bytes\": 4096}', 0, 0)\n"
        "print(sorted({'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
