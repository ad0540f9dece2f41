"""Rows and the files that they lie in: schemas, Parquet writing, the one reader of JSONL and Parquet, dataset cards, journals.

Below everything that holds rows: nothing here knows of generation, engines, corpora or evals.
"""
