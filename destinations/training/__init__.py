"""Training sets for language models: examples made of bars, with no look into the future.

Rows become examples, and these files, in `examples` → `lines` or `tables` → `destination`; `options` says what
an example is, and the schema of its row. Everything else starts from the files that were left:

- `parts`, `read_parts`, `raw_rows`: reading them.
- `finalize`: shards, card and manifest (`shards`, `card`, `spans`, `features`, `manifest`, `publish`).
- `styles`: rows as text (`prompts`, `encodings`, `bar_texts`, `basis_points`, `windows`, `series_style`);
  `lint`: what a trainer would make of them (`trainers`, `tokens`, `lengths`, `lint_source`).
- `splits` puts examples apart by time, `apart` proves that they are.
- `verify` works them out anew from bars (`known_bars`, `expected`, `verify_columns`, `verify_indicators`,
  `mismatches`) and shares nothing with `examples` but the options; `leakcheck` builds them at several moments
  (`leaks`, `later_bars`, `engine_lines`).
"""
