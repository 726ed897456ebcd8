"""Calls to AWS as plain functions; the rest of filevault never sees botocore."""
