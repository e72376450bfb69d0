"""Options by which a command line says how to reach a store."""

import argparse

from functa_store.store.objects import NO_OPTIONS, StorageOptions


def add_storage_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command on a store has. Credentials come from the environment alone."""
    group = parser.add_argument_group("disks and object stores (credentials come from the environment)")
    group.add_argument("--endpoint", metavar="URL", help="server other than the provider's, such as http://host:9000")
    group.add_argument("--bucket-region", metavar="REGION", help="region of the bucket")
    group.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=NO_OPTIONS.timeout,
        help="give a request up after so long, repetitions included, if the server is silent (default: %(default)g)",
    )
    group.add_argument(
        "--least-rate",
        type=float,
        metavar="BYTES",
        default=NO_OPTIONS.least_rate,
        help="bytes per second below which a server is too slow (default: %(default)g)",
    )
    group.add_argument("--anonymous", action="store_true", help="send no credentials, for public buckets")
    group.add_argument(
        "--no-mapping",
        dest="mapped",
        action="store_false",
        help="read files without mapping them into memory: slower, but safe if others make them shorter meanwhile",
    )


def storage_from(args: argparse.Namespace) -> StorageOptions:
    """What those options say."""
    return StorageOptions(
        endpoint=args.endpoint,
        region=args.bucket_region,
        anonymous=args.anonymous,
        timeout=args.timeout,
        least_rate=args.least_rate,
        mapped=args.mapped,
    )
