"""The database: every SELECT of the project is below here, and nothing else.

Here: engine, tables, schema and change signals. The statements are in the rooms below.
"""
