"""The hot lane: serve a repeated `exec` or `export` before the rest of filevault is imported.

docs/explanation/hot-lane.md says how it works. Nothing here imports another part of filevault.
"""
