"""How does a command line say how to reach a bucket?"""

import argparse

from functa_store.store.objects import StorageOptions


def add_storage_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command on a store has. Credentials come from the environment alone."""
    group = parser.add_argument_group("object stores (credentials come from the environment)")
    group.add_argument("--endpoint", metavar="URL", help="server other than the provider's, such as http://host:9000")
    group.add_argument("--bucket-region", metavar="REGION", help="region of the bucket")
    group.add_argument("--anonymous", action="store_true", help="send no credentials, for public buckets")


def storage_from(args: argparse.Namespace) -> StorageOptions:
    """What those options say."""
    return StorageOptions(endpoint=args.endpoint, region=args.bucket_region, anonymous=args.anonymous)
