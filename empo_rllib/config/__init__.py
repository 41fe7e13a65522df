"""The experiment file: its schema, and how it is read and checked.

Its modules build on each other in this order: `problems`, `search_space`; `algorithms`,
`param_limits`, `params`; `fields`, `sections`, `tune_settings`, `schema`; `messages`, `load`,
`policies`, `options`, `generate`.
"""
