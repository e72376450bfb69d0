"""Where a store lies: disks, buckets, servers, and the lock of its writer."""
