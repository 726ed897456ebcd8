"""filevault: the AWS credential vault for machines without a desktop."""

__version__ = "0.1.0"
