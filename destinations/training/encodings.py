"""How the bars of an example become text, and its target; `ENCODINGS` begins with what tells most.

- `json`: a list of objects. Lossless.
- `csv`: a header, then one line a bar; an indicator is a column `indicators.<name>`. Lossless.
- `bps`: CSV of whole basis points against the close before, without times and indicators.
- `bps_close`: one line of nothing but closes so told.

A lossless completion reads back to the very target. In basis points a price reads back within half of one
against the current close, a return within half of one, a volume within half a percent of the mean volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from destinations.texts import iso_times
from destinations.training.basis_points import (
    against,
    encode_bps,
    encode_bps_close,
    mean_volumes,
    percent,
    whole_numbers,
)
from destinations.training.indicator_maps import names_in, structs_of
from destinations.training.options import DIRECTION, NEXT, RETURN, TrainingOptions
from destinations.training.windows import Windows, frugal_numbers
from router.errors import ConfigError
from router.schema import PRICES
